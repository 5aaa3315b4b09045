//! What a drill found: the report as it is shown, kept and sent.

use serde::{Deserialize, Serialize};

use super::{DrillFields, FieldError, Label, Subject, Timestamp};

/// How a drill stands, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DrillState {
    /// What must hold is looked at; nothing has been touched.
    Checking,
    /// The drain was asked for, and clients are led away.
    Moving,
    /// Nobody is led there any more.
    Holding,
    /// Clients are led back.
    Restoring,
    /// It went as planned.
    Done,
    /// It began, and was ended early.
    Aborted,
    /// It did not begin: what it requires did not hold, or the drain was refused.
    Refused,
    /// Its time came while another drill was under way, or while the server was not.
    Skipped,
}

impl DrillState {
    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            DrillState::Checking => "checking",
            DrillState::Moving => "moving",
            DrillState::Holding => "holding",
            DrillState::Restoring => "restoring",
            DrillState::Done => "done",
            DrillState::Aborted => "aborted",
            DrillState::Refused => "refused",
            DrillState::Skipped => "skipped",
        }
    }

    /// Whether nothing comes any more.
    pub fn is_over(self) -> bool {
        matches!(self, DrillState::Done | DrillState::Aborted | DrillState::Refused | DrillState::Skipped)
    }
}

/// The report of a drill: of one that is over, or as far as it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillReport {
    /// Its own name: when it began, and what it is. `20261124T100000Z-evacuate-eu`
    pub run: String,
    /// The drill of the configuration; absent for one that was described when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Label>,
    /// How it stands.
    pub state: DrillState,
    /// Why it was aborted, refused or skipped; else empty.
    pub why: String,
    /// What was to be done.
    pub drill: DrillFields,
    /// Who asked: the token's name, `local` where the API needs none, `schedule` where its time had come.
    pub author: String,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
    /// What was answered meanwhile, by this server.
    pub answers: DrillAnswers,
    /// How long what was lost stayed in answers; absent before the drain, and where what is lost is no region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_old: Option<LastOld>,
    /// Which regions the answers held, by stage.
    pub regions: Vec<RegionShares>,
    /// Who would move where, as simulated when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// The conditions, and what was last seen of each.
    pub watched: Vec<Watched>,
}

/// Something that happened in a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Moment {
    /// Seconds from the beginning.
    pub after: f64,
    /// When.
    pub at: Timestamp,
    /// What: `announced`, `first client moved`, `25 % moved`, … `all moved`, `last old answer`, `lift`, `restored`, `aborted`, …
    pub what: String,
    /// The particulars; may be empty.
    pub detail: String,
}

/// Answers from the drain to the end of the drill, or as far as it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillAnswers {
    /// Queries answered, whatever came of them.
    pub all: u64,
    /// Without a record, for names that have one when nothing is drained.
    pub empty: u64,
    /// Given although nothing was healthy.
    pub fail_open: u64,
}

/// How long what was lost stayed in answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LastOld {
    /// Answers that held an instance of it after the drain was asked for.
    pub answers: u64,
    /// Seconds from the drain to the last of them, to a tenth of a second; 0: there was none.
    pub last: f64,
    /// Seconds from the drain until the TTL of the last of them had run out in every cache.
    pub cached: f64,
}

/// The share of answers that held a region, 0–1. An answer with instances of two regions counts for both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegionShares {
    /// The region.
    pub region: String,
    /// In the minute before; absent where nobody asked.
    pub before: Option<f64>,
    /// While clients were led away.
    pub moving: Option<f64>,
    /// While nobody was led there.
    pub holding: Option<f64>,
    /// While clients were led back.
    pub restoring: Option<f64>,
}

/// What a simulation said before anything was touched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Forecast {
    /// Shares of all clients that move, largest first.
    pub moves: Vec<ForecastMove>,
    /// The clients' latency before; absent where no latency is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ForecastLatency>,
    /// The clients' latency while it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ForecastLatency>,
    /// What it warned of, such as branches that would exceed their stated capacity.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A share of clients that moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ForecastMove {
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// How many of all clients, 0–1.
    pub share: f64,
}

/// A distribution of round trips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ForecastLatency {
    /// The mean over clients by their weight, in milliseconds.
    pub mean_ms: f64,
    /// What 95 of 100 clients stay below, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
}

/// A condition of a drill, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Watched {
    /// What: `require.min_healthy_regions`, `abort.metric`, …
    pub condition: String,
    /// What it may be.
    pub limit: String,
    /// What it was when it was last looked at.
    pub last: String,
}

/// The drills of a server: what is defined, and what was run.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DrillList {
    /// Those of the configuration, by name.
    pub drills: Vec<DefinedDrill>,
    /// The latest runs, newest first.
    pub runs: Vec<DrillRun>,
}

/// A drill of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DefinedDrill {
    /// Its name.
    pub name: Label,
    /// What it does.
    #[serde(flatten)]
    pub drill: DrillFields,
    /// When it begins by itself next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// A line of the list of runs.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DrillRun {
    /// Its name: what `GET /v1/drills/{run}` takes.
    pub run: String,
    /// The drill of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Label>,
    /// What it loses.
    #[schema(value_type = String)]
    pub lose: Subject,
    /// How it stands.
    pub state: DrillState,
    /// Why it was aborted, refused or skipped; else empty.
    pub why: String,
    /// Who asked.
    pub author: String,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// Why a drill was not begun, or not stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrillRefusal {
    /// The configuration has no such drill.
    #[error("there is no drill {0} in the configuration; it is defined as [drills.{0}]")]
    UnknownDrill(Label),
    /// No such run is known.
    #[error("there is no run {0:?}")]
    UnknownRun(String),
    /// One at a time.
    #[error("drill {0} is under way; one at a time")]
    Busy(String),
    /// The run is over.
    #[error("drill {0} is over")]
    Over(String),
    /// A field cannot stand as it is.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// It did not begin.
    #[error("the drill did not begin: {why}")]
    Refused {
        /// The run, which has a report.
        run: String,
        /// Why.
        why: String,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl DrillReport {
    /// A drill that is about to begin.
    pub fn begin(name: Option<Label>, drill: DrillFields, author: &str, now: Timestamp) -> DrillReport {
        // 2026-11-24T10:00:00.123Z without what no file name needs.
        let begun: String = now.to_string().chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        let what = name.as_ref().map_or_else(|| drill.lose.to_string().replace('/', "-"), Label::to_string);
        DrillReport {
            run: format!("{begun}Z-{what}"),
            name,
            state: DrillState::Checking,
            why: String::new(),
            drill,
            author: author.into(),
            started: now,
            ended: None,
            timeline: Vec::new(),
            answers: DrillAnswers::default(),
            last_old: None,
            regions: Vec::new(),
            forecast: None,
            watched: Vec::new(),
        }
    }

    /// Adds a moment, in its place.
    pub fn tell(&mut self, at: Timestamp, what: impl Into<String>, detail: impl Into<String>) {
        let after = at.since(self.started).as_millis() as f64 / 1000.0;
        let place = self.timeline.partition_point(|moment| moment.at <= at);
        self.timeline.insert(place, Moment { after, at, what: what.into(), detail: detail.into() });
    }

    /// Ends it.
    pub fn end(&mut self, at: Timestamp, state: DrillState, why: impl Into<String>) {
        (self.state, self.why, self.ended) = (state, why.into(), Some(at));
    }

    /// Its line in the list of runs.
    pub fn line(&self) -> DrillRun {
        DrillRun {
            run: self.run.clone(),
            name: self.name.clone(),
            lose: self.drill.lose.clone(),
            state: self.state,
            why: self.why.clone(),
            author: self.author.clone(),
            started: self.started,
            ended: self.ended,
        }
    }
}
