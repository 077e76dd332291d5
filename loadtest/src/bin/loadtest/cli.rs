//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::profile::{Mix, Mode};
use loadtest::schedule::Spacing;

const EXIT_CODES: &str = "\
Exit codes: 0 all is well; 1 the books differ from the answers; 2 the run could not be made; 3 a target of --slo was
missed, or one of `overload`; 4 the run is void: too few of the intended approvals, or less than intended was
offered; 64 usage.

A server of its own (--serve, or the one built beside this program) gets config/policy.load.toml; a service given by
--url should run under it too. Its environment is passed on: SOKKETSU_JOURNAL__MAX_GAP_US=500 loadtest run ...";

/// Load for Sokketsu, and an audit of the books at the end
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Keep to a schedule whatever the server does (open loop)
    Run(Run),
    /// Find out how much it can do: the next request goes out when an answer has come (closed loop)
    Capacity(Capacity),
    /// Many times what it can do, and back: what is still done, how fast the rest is refused, how soon all is as before
    Overload(Overload),
    /// A few seconds of everything, with an audit
    Smoke(Smoke),
    /// The whole life of one customer over a year, and whether its sums add up to the yen
    Year(Year),
    /// The network's side of the ISO 8583 link, simulated with all its troubles, and an audit
    Switch(crate::switch::Options),
}

#[derive(Args)]
pub struct Run {
    /// Flows a second
    #[arg(long, conflicts_with = "profile", required_unless_present = "profile")]
    pub rate: Option<f64>,
    /// A profile, such as config/load/store-rush.toml; what is given here too stands above it
    #[arg(long)]
    pub profile: Option<PathBuf>,
    /// Length of the measurement at --rate
    #[arg(long, default_value_t = 10.0, conflicts_with = "profile")]
    pub seconds: f64,
    /// How arrivals are spaced
    #[arg(long)]
    pub schedule: Option<Spacing>,
    /// What a profile's relative rates are multiples of, flows a second; measured first if not given
    #[arg(long)]
    pub capacity: Option<f64>,
    /// Multiplies all rates of a profile
    #[arg(long, default_value_t = 1.0)]
    pub scale_rate: f64,
    /// Multiplies all times of a profile
    #[arg(long, default_value_t = 1.0)]
    pub scale_time: f64,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct Capacity {
    /// Length of the measurement
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct Overload {
    /// What is offered, in peaks
    #[arg(long, default_value_t = 10.0)]
    pub times: f64,
    /// Length of the overload
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Length of the normal load before it, and after it: half the peak
    #[arg(long, default_value_t = 10.0)]
    pub normal_seconds: f64,
    /// The peak, flows a second; measured first if not given
    #[arg(long)]
    pub capacity: Option<f64>,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct Smoke {
    /// Length of the measurement
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum NamedMix {
    /// Sales that are approved, and nothing else
    Plain,
    /// Some retries, cancels, refunds, inquiries and denials
    Everyday,
}

impl NamedMix {
    pub const fn mix(self) -> Mix {
        match self {
            Self::Plain => Mix::PLAIN,
            Self::Everyday => Mix::EVERYDAY,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    Http,
    Iso8583,
}

#[derive(Args)]
pub struct Shape {
    /// What a flow is [default: pair]
    #[arg(long)]
    pub mode: Option<Mode>,
    /// Issue all codes before the measurement, so that it is of authorizations only; the same as --mode authorize
    #[arg(long, conflicts_with = "mode")]
    pub prepare_codes: bool,
    /// What flows are mixed [default: everyday for `pair`, plain for the others]
    #[arg(long)]
    pub mix: Option<NamedMix>,
    /// Keep-alive connections
    #[arg(long)]
    pub connections: Option<usize>,
    /// Most requests under way on one connection
    #[arg(long)]
    pub pipeline: Option<usize>,
    /// Seconds that are played before the measurement
    #[arg(long)]
    pub warmup: Option<f64>,
    /// After so long a request counts as never answered
    #[arg(long)]
    pub timeout_ms: Option<u64>,
    /// Customers of the run; with codes prepared, at least one for each flow
    #[arg(long)]
    pub customers: Option<usize>,
    /// Exponent of the customers' Zipf distribution; 0: all alike
    #[arg(long)]
    pub zipf: Option<f64>,
    /// Merchants of the run
    #[arg(long)]
    pub merchants: Option<usize>,
    /// Seed of all that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args)]
pub struct Place {
    /// Start this server as a sandbox on a free port of the loopback
    #[arg(long, value_name = "BINARY", conflicts_with = "url")]
    pub serve: Option<PathBuf>,
    /// Its data directory, kept afterwards; a temporary one if not given
    #[arg(long, conflicts_with = "url")]
    pub data: Option<PathBuf>,
    /// Its configuration, which then names the policy too
    #[arg(long, conflicts_with = "url")]
    pub server_config: Option<PathBuf>,
    /// It speaks TLS, with a certificate made for the run
    #[arg(long, conflicts_with = "url")]
    pub tls: bool,
    /// Each of its syncs takes so much longer, µs, as on a slower disk; needs strace
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "url")]
    pub sync_delay_us: Option<u32>,
    /// How sales, their retries, cancels and refunds are sent; with iso8583 the codes must be prepared
    #[arg(long, value_enum, default_value_t = Transport::Http)]
    pub transport: Transport,
    /// Where the running service's link is
    #[arg(long, value_name = "ADDR", requires = "url")]
    pub iso8583: Option<std::net::SocketAddr>,
    /// Measure a running service, for example http://127.0.0.1:8080; or by https, with --ca
    #[arg(long, env = "LOADTEST_URL")]
    pub url: Option<String>,
    /// The authorities that its certificate may be of, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Our own certificate chain, PEM, if it wants one
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key_file"])]
    pub cert: Option<PathBuf>,
    /// The key of our certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key_file: Option<PathBuf>,
    /// Sign the register's requests; its key has this name. A server of our own is made to demand it
    #[arg(long, value_name = "NAME")]
    pub sign: Option<String>,
    /// With the secret in this file, base64; a server of our own gets one made for the run
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub sign_secret: Option<PathBuf>,
    /// Where its office and ops calls are, if elsewhere
    #[arg(long, env = "LOADTEST_ADMIN_URL")]
    pub admin_url: Option<String>,
    /// Its data directory, if it is on this machine: its ledger is then audited too
    #[arg(long)]
    pub ledger: Option<PathBuf>,
    /// Key for codes
    #[arg(long, env = "LOADTEST_KEY_WALLET", default_value = "sandbox-wallet", hide_env_values = true)]
    pub key_wallet: String,
    /// Key for sales; it needs `merchants = "*"`, `may_refund`, and `online` for online profiles
    #[arg(long, env = "LOADTEST_KEY_REGISTER", default_value = "sandbox-register", hide_env_values = true)]
    pub key_register: String,
    /// Key for making customers and merchants
    #[arg(long, env = "LOADTEST_KEY_OFFICE", default_value = "sandbox-office", hide_env_values = true)]
    pub key_office: String,
    /// Key for the metrics
    #[arg(long, env = "LOADTEST_KEY_OPS", default_value = "sandbox-ops", hide_env_values = true)]
    pub key_ops: String,
    /// Begin of the ids of the customers of the run; a number follows
    #[arg(long, default_value = "load-")]
    pub customer_prefix: String,
    /// Sell at these merchants, which must exist, and make none
    #[arg(long, value_name = "ID")]
    pub merchant_id: Vec<String>,
}

#[derive(Args)]
pub struct Year {
    /// The server to live with [default: the one built beside this program]
    #[arg(long, value_name = "BINARY")]
    pub serve: Option<PathBuf>,
    /// Write the story and its sums as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Tell the sums only
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Args)]
pub struct Output {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as one page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Targets: p50_ms, p99_ms, p999_ms, max_error_ratio, min_approval_ratio
    #[arg(long, value_name = "FILE")]
    pub slo: Option<PathBuf>,
    /// Measure the disk under this folder meanwhile [default: beside the server's data, if it is ours]
    #[arg(long, value_name = "DIR")]
    pub disk_probe: Option<PathBuf>,
    /// Leave the disk alone
    #[arg(long, conflicts_with = "disk_probe")]
    pub no_disk_probe: bool,
    /// No progress line
    #[arg(long, short)]
    pub quiet: bool,
}
