//! Load for Sokketsu: what its programs share. The service's wires (HTTP, ISO 8583, TLS, signatures), a server of their own,
//! customers and their codes, schedules and the loops that keep to them, and what is measured. It shares no code with
//! what it measures: a mistake made on both sides would not be seen.

pub mod bulk;
pub mod bytes;
pub mod clock;
pub mod crowd;
pub mod decided;
pub mod drive;
pub mod figures;
pub mod http;
pub mod iso;
pub mod json;
pub mod latency;
pub mod message;
pub mod output;
pub mod probe;
pub mod schedule;
pub mod server;
pub mod setup;
pub mod sign;
pub mod stats;
pub mod tls;
pub mod wire;
