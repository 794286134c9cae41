//! The client of publishers, visitors and admins.

/// Requests are made of small pieces that one thread takes and another gives back; so are records at a start.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    sallyport::cli::client::main()
}
