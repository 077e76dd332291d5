//! The real binary under what happens to services: kills, full disks, damage, races, impatient registers.

mod crash;
mod faults;
mod load;
mod races;
mod server;
