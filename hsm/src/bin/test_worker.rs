//! A key worker for the tests of this package, which has no other program.

fn main() -> Result<(), sallyport_hsm::KeyError> {
    sallyport_hsm::worker::serve()
}
