//! The tunnel as its users meet it: both ends together, in memory and over real loopback TLS.

pub(crate) mod bed;
mod over_tls;
