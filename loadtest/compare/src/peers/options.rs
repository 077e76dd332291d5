//! The command line of `compare peers`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::Kind;

#[derive(Args)]
pub struct Options {
    /// Who takes part, in this order
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "bare,sokketsu,pair,redis-always,redis-everysec,postgres"
    )]
    pub peers: Vec<Kind>,
    /// Rounds; in each, everybody has a turn
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Length of a turn
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Seconds before each that are played and not measured
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Longest wait for an idle machine before each, s
    #[arg(long, default_value_t = 8.0)]
    pub wait_idle: f64,
    /// Also at so many decisions a second, whatever the peer does (open loop)
    #[arg(long)]
    pub rate: Option<f64>,
    /// That rate alone, without the turns as fast as each answers; of the peer `commit` both all the same
    #[arg(long, requires = "rate")]
    pub open_only: bool,
    /// Commits a second of the peer `commit` in place of --rate, each on a connection that is free
    #[arg(long, default_value_t = 250.0)]
    pub commit_rate: f64,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Those to PostgreSQL, which does best with fewer
    #[arg(long, default_value_t = 16)]
    pub postgres_connections: usize,
    /// Those of ISO 8583
    #[arg(long, default_value_t = 4)]
    pub link_connections: usize,
    /// Most messages under way on each of these
    #[arg(long, default_value_t = 64)]
    pub link_depth: usize,
    /// Customers of each; with codes prepared, a turn ends when each has bought once
    #[arg(long, default_value_t = 1_000_000)]
    pub customers: u32,
    /// The server to compare [default: the one built beside this program]
    #[arg(long, value_name = "BINARY")]
    pub serve: Option<PathBuf>,
    /// Its configuration, which then names the policy too
    #[arg(long)]
    pub server_config: Option<PathBuf>,
    /// Keep everybody's data below this folder, all on one disk [default: the system's temporary one]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Write all turns as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Tell nothing meanwhile
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    pub fn check(&self) -> Result<()> {
        ensure!((1..=1_000).contains(&self.rounds), "--rounds: 1 to 1,000");
        ensure!(self.seconds > 0.0 && self.seconds <= 600.0, "--seconds: above 0, at most 600");
        ensure!((0.0..=60.0).contains(&self.warmup), "--warmup: 0 to 60");
        ensure!((0.0..=600.0).contains(&self.wait_idle), "--wait-idle: 0 to 600");
        ensure!(self.rate.is_none_or(|rate| rate > 0.0 && rate <= 1e6), "--rate: above 0, at most 1,000,000");
        ensure!(self.commit_rate > 0.0 && self.commit_rate <= 1e4, "--commit-rate: above 0, at most 10,000");
        ensure!((1..=1_000).contains(&self.connections), "--connections: 1 to 1,000");
        ensure!((1..=200).contains(&self.postgres_connections), "--postgres-connections: 1 to 200");
        ensure!((100..=1_000_000).contains(&self.customers), "--customers: 100 to 1,000,000");
        Ok(())
    }
}
