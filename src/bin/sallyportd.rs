//! The gateway.

fn main() -> std::process::ExitCode {
    sallyport::cli::daemon::main()
}
