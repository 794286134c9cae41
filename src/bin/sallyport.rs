//! The client of publishers, visitors and admins.

fn main() -> std::process::ExitCode {
    sallyport::cli::client::main()
}
