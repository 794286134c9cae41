//! What Sallyport is made of; `docs/architecture.md` is the map.

pub mod access;
