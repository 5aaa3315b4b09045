//! Shell (floor 5): logs and metrics.

mod facts;
mod logs;
mod metrics;

pub use logs::{LogError, init};
pub use metrics::{Metrics, Reading, WorkerCounters, answers_by_region, is_mark};
