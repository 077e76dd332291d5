//! What every door needs of a socket.

pub mod tls;
