//! The power of a whole rack is cut: all three servers of the database and all nodes at once, whatever was not on the disk is gone.

use std::fs;

use super::cluster::wait;
use super::disk::PowerDisk;
use super::nodes::{Load, Nodes};
use super::postgresql::cluster::{NODE, OWNER, PgCluster};

/// How often: little in `./check`, much by `POWER_CUTS`.
#[expect(clippy::disallowed_methods, reason = "it is told how long")]
fn rounds() -> usize {
    std::env::var("POWER_CUTS").map_or(1, |text| text.parse().unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn a_cluster_that_lost_its_power_has_every_answered_sale_once() {
    let mut disk = PowerDisk::make("3G");
    let servers = disk.path().join("servers");
    fs::create_dir(&servers).unwrap();
    let pg = PgCluster::start_in(servers, None, "");
    let database = pg.database();
    // Their folders are on the disk, too.
    let mut nodes = Nodes::start_in(&disk.path(), &pg.url(OWNER, &database), pg.url(NODE, &database), &["a", "b", "c"]);
    // Only what a server syncs by itself is on the disk from now on.
    disk.sync();
    let load = Load::of(&nodes);
    load.during(|| {
        for _ in 0..rounds() {
            let before = load.answered();
            wait("nobody is answered", || load.answered() > before + 100);
            disk.cut_power();
            nodes.servers.iter_mut().for_each(|server| server.kill());
            (0..3).for_each(|at| pg.kill(at));
            disk.unmount();
            disk.mount();
            (0..3).for_each(|at| pg.resume(at));
            pg.wait_for_standbys(0, 2);
            nodes.servers.iter_mut().for_each(|server| server.start_again());
        }
        let before = load.answered();
        wait("nobody is answered", || load.answered() > before + 100);
    });
    let (answered, approved) = load.each_once(&nodes);
    println!("{} power cuts, {answered} sales answered, {approved} approved: all there, each once", rounds());
}
