//! Starts the peers, and once for all of them what several share.

use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use super::bare::Bare;
use super::postgres::{self, Postgres};
use super::redis::Redis;
use super::servers::Servers;
use super::site::Site;
use super::sokketsu::Sokketsu;
use super::{Kind, Options, Peer};

/// What several peers share, once the first of them has started it.
pub struct Shared<'a> {
    options: &'a Options,
    folder: &'a Path,
    files: Option<Rc<Site>>,
    cluster: Option<Rc<Site>>,
    servers: Option<Rc<Servers>>,
}

fn started<T>(place: &mut Option<Rc<T>>, start: impl FnOnce() -> Result<T>) -> Result<Rc<T>> {
    if let Some(running) = place {
        return Ok(Rc::clone(running));
    }
    Ok(Rc::clone(place.insert(Rc::new(start()?))))
}

impl<'a> Shared<'a> {
    pub fn new(options: &'a Options, folder: &'a Path) -> Self {
        Self { options, folder, files: None, cluster: None, servers: None }
    }

    fn files(&mut self) -> Result<Rc<Site>> {
        started(&mut self.files, || Site::in_files(self.options, self.folder))
    }

    fn cluster(&mut self) -> Result<Rc<Site>> {
        let servers = self.servers()?;
        started(&mut self.cluster, || Site::in_cluster(self.options, self.folder, &servers))
    }

    /// A primary and two standbys.
    fn servers(&mut self) -> Result<Rc<Servers>> {
        started(&mut self.servers, || Servers::start(self.folder, "cluster", 2))
    }

    /// Starts one of them.
    pub fn peer(&mut self, kind: Kind, customers: u32) -> Result<Box<dyn Peer>> {
        let (options, folder) = (self.options, self.folder);
        Ok(match kind {
            Kind::Bare => Box::new(Bare::start(options, 1)?),
            Kind::Bare2 => Box::new(Bare::start(options, 2)?),
            Kind::Sokketsu | Kind::Pair | Kind::Link => Box::new(Sokketsu::start(self.files()?, customers, kind)?),
            Kind::SokketsuCluster | Kind::SokketsuAtRest | Kind::PairCluster => {
                Box::new(Sokketsu::start(self.cluster()?, customers, kind)?)
            }
            Kind::RedisAlways => Box::new(Redis::start(options, folder, "always", false)?),
            Kind::RedisEverysec => Box::new(Redis::start(options, folder, "everysec", false)?),
            Kind::RedisReplica => Box::new(Redis::start(options, folder, "always", true)?),
            Kind::Postgres => {
                let alone = Rc::new(Servers::start(folder, "postgres", 0)?);
                Box::new(Postgres::start(options, folder, &alone, postgres::DECISION)?)
            }
            Kind::PostgresStandbys => Box::new(Postgres::start(options, folder, &self.servers()?, postgres::DECISION)?),
            Kind::Commit => Box::new(Postgres::start(options, folder, &self.servers()?, postgres::COMMIT)?),
        })
    }
}
