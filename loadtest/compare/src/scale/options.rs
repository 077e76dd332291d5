//! The command line of `compare scale`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Sizes to measure, customers
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "10000,1000000,10000000")]
    pub customers: Vec<u32>,
    /// Orders that a start is to find, besides the measured sales
    #[arg(long, default_value_t = 1_000_000)]
    pub orders: u64,
    /// Measured sales in a closed loop, of each size, in five rounds
    #[arg(long, default_value_t = 300_000)]
    pub sales: u64,
    /// Seconds of sales at a fixed rate, alone and while customers are made; 0 leaves them out
    #[arg(long, default_value_t = 20.0)]
    pub growth_seconds: f64,
    /// Their rate, a second
    #[arg(long, default_value_t = 2_000.0)]
    pub growth_rate: f64,
    /// Customers made a second meanwhile
    #[arg(long, default_value_t = 4_000.0)]
    pub growth_customers: f64,
    /// Keep each size's data in a folder below this one; customers that are there already are not made again
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Only make the customers and the orders; another call with the same --data measures
    #[arg(long, requires = "data")]
    pub fill: bool,
    /// The server to measure [default: the one built beside this program]
    #[arg(long, value_name = "BINARY")]
    pub serve: Option<PathBuf>,
    /// Write all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write throughput, memory and start over the number of customers as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Tell nothing meanwhile
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.customers.iter().all(|customers| (1_000..=50_000_000).contains(customers)),
            "--customers: each 1,000 to 50,000,000"
        );
        ensure!(self.orders <= 10_000_000, "--orders: at most 10,000,000");
        ensure!((1_000..=10_000_000).contains(&self.sales), "--sales: 1,000 to 10,000,000");
        ensure!((0.0..=600.0).contains(&self.growth_seconds), "--growth-seconds: 0 to 600");
        ensure!((1.0..=1e6).contains(&self.growth_rate), "--growth-rate: 1 to 1,000,000");
        ensure!((1.0..=1e6).contains(&self.growth_customers), "--growth-customers: 1 to 1,000,000");
        Ok(())
    }
}
