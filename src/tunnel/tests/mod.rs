//! The tunnel as its users meet it: both ends together, in memory and over real loopback TLS.

mod app_pool;
pub(crate) mod bed;
mod byte_stream;
mod closing;
mod documents;
mod falling_back;
mod hostile_peer;
mod known_gateways;
mod lasting;
mod lifecycle;
mod many_streams;
mod over_tls;
mod resuming;
mod several_gateways;
mod small_pieces;
mod warm_pool;
