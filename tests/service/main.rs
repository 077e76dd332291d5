//! The real binary under what happens to services: kills, power cuts, full disks, damage, races, impatient registers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]

mod account;
mod bounds;
mod cluster;
mod cluster_commands;
mod cluster_power;
mod cluster_refusals;
mod corrections;
mod crash;
mod damage;
mod descriptors;
mod disk;
mod faults;
mod files;
mod freeze;
mod garbage;
mod grown;
mod growth;
mod heard;
mod history;
mod iso;
mod link;
mod link_beside;
mod link_orders;
mod link_whole;
mod lists;
mod load;
mod mirror;
mod money;
mod nodes;
mod notices;
mod patroni;
mod payouts;
mod pictures;
mod postgres;
#[path = "../postgres/mod.rs"]
mod postgresql;
mod races;
mod server;
mod statements;
mod stop;
mod stories;
mod suspense;
mod takeover;
mod tls;
