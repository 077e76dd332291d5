//! What every door needs of a socket: [`listener`] binds, accepts, opens and drains; [`tls`] reads its certificates.

pub mod listener;
pub mod tls;

pub use listener::{Caps, Listener, Socket, bind};
