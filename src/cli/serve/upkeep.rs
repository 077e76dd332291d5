//! What is done every few seconds beside the service: the metrics' samples are folded, the ledger's writer is looked at,
//! and one old segment of the journal may go.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::model::time::DAY;
use crate::journal::Release;
use crate::ledger::write_loop::Condition;
use crate::ledger::writer::Writer;

pub(crate) struct Upkeep {
    prometheus: PrometheusHandle,
    /// None while another node posts.
    writer: Arc<OnceLock<Writer>>,
    clock: Clock,
    release: Arc<dyn Release>,
    /// Age of the records that are kept, ms.
    kept: i64,
    /// Held while a segment is being released: a slow unlink is not joined by another.
    releasing: Arc<Mutex<()>>,
}

impl Upkeep {
    pub fn new(
        config: &Config,
        release: Arc<dyn Release>,
        clock: &Clock,
        writer: &Arc<OnceLock<Writer>>,
        prometheus: PrometheusHandle,
    ) -> Self {
        let kept = i64::try_from(config.records.journal.retain_days).unwrap_or(i64::MAX).saturating_mul(DAY);
        let clock = clock.clone();
        let writer = Arc::clone(writer);
        Self { prometheus, writer, clock, release, kept, releasing: Arc::default() }
    }

    /// Call it inside the runtime; what may block goes to a thread that may.
    pub fn turn(&self) {
        let prometheus = self.prometheus.clone();
        tokio::task::spawn_blocking(move || prometheus.run_upkeep());
        let Some(writer) = self.writer.get() else { return };
        if let Condition::Failed { error } = writer.condition() {
            tracing::error!(error, "the ledger has stopped; decisions go on, the books do not");
        }
        let (release, releasing) = (Arc::clone(&self.release), Arc::clone(&self.releasing));
        let secured = writer.secured();
        let older = self.clock.now().plus(-self.kept);
        tokio::task::spawn_blocking(move || {
            let Some(_alone) = releasing.try_lock() else { return };
            match release.release_oldest(secured, older) {
                Ok(Some(first)) => tracing::info!(first = first.0, "released the oldest segment of the journal"),
                Ok(None) => {}
                // The journal only grows; decisions go on.
                Err(error) => tracing::error!(%error, "an old segment of the journal could not be released"),
            }
        });
    }
}
