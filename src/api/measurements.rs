//! Measured round trips: samples in, means out.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::request::{self, Parameters};
use super::{Shared, reply};
use crate::control::Sample;
use crate::model::{FieldError, Label, Period, Timestamp};
use crate::routing::{Measured, Places};

/// Where they are posted.
pub const PATH: &str = "/v1/measurements";
/// Most octets of a post.
pub const MAX_BODY: usize = 1024 * 1024;
/// Most samples of a post.
const MAX_SAMPLES: usize = 10_000;
/// Most prefixes of a page.
const MAX_PAGE: usize = 1000;
/// Prefixes of a page where nothing is said.
const PAGE: usize = 100;

/// Round trips that somebody measured.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// At most 10,000; all are taken, or none.
    #[schema(max_items = 10_000)]
    samples: Vec<SampleFields>,
}

/// One round trip.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleFields {
    /// The client's address, or its network: kept for the /24 (IPv4) or /56 (IPv6) that holds it, or for a larger network as it is.
    #[schema(value_type = String, example = "198.51.100.0/24")]
    client: Client,
    /// The region at the other end: declared, or one that has instances.
    region: Label,
    /// Milliseconds: more than 0, at most 60,000.
    #[schema(exclusive_minimum = 0.0, maximum = 60_000.0, example = 23.5)]
    rtt_ms: f64,
}

/// An address or a network.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Client(IpNet);

impl TryFrom<String> for Client {
    type Error = String;
    fn try_from(text: String) -> Result<Client, String> {
        let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse()
            .or_else(|_| address())
            .map(Client)
            .map_err(|_| format!("an address or a network such as 198.51.100.7, 198.51.100.0/24 or 2001:db8::/48, not {text:?}"))
    }
}

/// What was taken.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
pub struct Taken {
    /// How many samples.
    pub taken: usize,
}

/// What is known of clients' round trips.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct MeasurementList {
    /// How many prefixes are known altogether; at most 100,000 are kept.
    pub prefixes: usize,
    /// By prefix: IPv4 first, then by address.
    pub measurements: Vec<MeasuredPrefix>,
    /// The `after` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<IpNet>,
}

/// The clients of one prefix.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct MeasuredPrefix {
    /// The prefix.
    #[schema(value_type = String)]
    pub client: IpNet,
    /// What was measured to each region, the nearest first.
    pub regions: Vec<MeasuredRegion>,
}

/// The round trips between the clients of a prefix and a region.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct MeasuredRegion {
    /// The region.
    pub region: Label,
    /// Their mean in milliseconds; a new sample counts for 30 %.
    pub rtt_ms: f64,
    /// How many samples went into it.
    pub samples: u32,
    /// When the last one came.
    pub last: Timestamp,
    /// How long ago that is; an hour after its last sample a mean is forgotten.
    pub age: Period,
}

/// Post round trips between clients and regions, such as a web page or a load balancer measures them.
///
/// `nearest` and `latency` then rank the regions of those clients by what was measured, and those of clients near by with it in mind.
/// Answers follow within some seconds. A region passes another only if it is better by 10 ms and 15 %. Means are kept in memory, not in
/// the store: each server has to be sent its own, and forgets them when it stops.
#[utoipa::path(
    post, path = "/v1/measurements", tag = "measurements",
    request_body = Samples,
    responses((status = 202, description = "All samples were taken", body = Taken)),
)]
pub async fn post(State(api): State<Arc<Shared>>, body: Bytes) -> Result<Response, Problem> {
    let Samples { samples } = request::body(&body)?;
    if samples.len() > MAX_SAMPLES {
        let expected = format!("at most {MAX_SAMPLES} samples at once, not {}", samples.len());
        return Err(Problem::field(FieldError::new("samples", expected)));
    }
    let taken = samples.len();
    let sample = |fields: SampleFields| Sample { client: fields.client.0, region: fields.region, rtt_ms: fields.rtt_ms };
    api.control.measure(samples.into_iter().map(sample).collect()).await?;
    Ok(reply::json(StatusCode::ACCEPTED, &Taken { taken }))
}

/// What was measured, prefix by prefix.
#[utoipa::path(
    get, path = "/v1/measurements", tag = "measurements",
    params(
        ("client" = Option<String>, Query, description = "Only prefixes that hold this address or network, or lie within it"),
        ("after" = Option<String>, Query, description = "Only prefixes behind this one: the `next` of the page before"),
        ("limit" = Option<usize>, Query, description = "Most prefixes of a page: 1 to 1000, default 100"),
    ),
    responses((status = 200, description = "The means", body = MeasurementList)),
)]
pub async fn list(State(api): State<Arc<Shared>>, uri: Uri) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &["client", "after", "limit"])?;
    let network = |name: &str| {
        let read = parameters.text(name).map(|text| Client::try_from(text.to_string()));
        read.transpose().map(|client| client.map(|Client(net)| net.trunc())).map_err(|expected| Problem::parameter(name, expected))
    };
    let (client, after) = (network("client")?, network("after")?);
    let limit = match parameters.text("limit") {
        None => PAGE,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
            limit.ok_or_else(|| Problem::parameter("limit", format!("1 to {MAX_PAGE}, not {text:?}")))?
        }
    };
    let now = (api.clock)();
    let snapshot = api.control.publisher().load_full();
    let list = {
        let measurements = api.control.measurements();
        let shown = |(prefix, means): (IpNet, &[Measured])| MeasuredPrefix::new(prefix, means, &snapshot.places, now);
        // One more than the page holds: whether there is a next one.
        let mut found: Vec<MeasuredPrefix> = match client {
            None => measurements.after(after).take(limit + 1).map(shown).collect(),
            Some(client) => {
                let behind = measurements.about(client).filter(|(prefix, _)| after.is_none_or(|after| *prefix > after));
                behind.take(limit + 1).map(shown).collect()
            }
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|last| last.client).filter(|_| more);
        MeasurementList { prefixes: measurements.len(), measurements: found, next }
    };
    Ok(reply::json(StatusCode::OK, &list))
}

impl MeasuredPrefix {
    fn new(client: IpNet, means: &[Measured], places: &Places, now: Timestamp) -> MeasuredPrefix {
        let region = |measured: &Measured| MeasuredRegion {
            region: places.region_label(measured.region).clone(),
            rtt_ms: (measured.ms * 1000.0).round() / 1000.0,
            samples: measured.samples,
            last: measured.last,
            age: Period(now.since(measured.last)),
        };
        let mut regions: Vec<MeasuredRegion> = means.iter().map(region).collect();
        regions.sort_by(|a, b| a.rtt_ms.total_cmp(&b.rtt_ms).then_with(|| a.region.cmp(&b.region)));
        MeasuredPrefix { client, regions }
    }
}
