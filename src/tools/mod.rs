//! Commands that read what the service wrote.

pub mod verify;
