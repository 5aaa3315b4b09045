//! The one table of what is served: it makes the router, says which right each call needs, and makes the OpenAPI document.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};

use super::problem::Problem;
use super::{
    Shared, access, discovery, drains, drills, events, explain, heartbeats, instances, keys, measurements, page, regions, services,
    simulate, status, updates,
};
use crate::model::{CheckFields, Right};

/// One call: a line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The method, lower case. GET serves HEAD as well.
    pub method: &'static str,
    /// The path, with `{…}` for its names.
    pub path: &'static str,
    /// What the caller must be allowed.
    pub need: Need,
    /// The function behind it, such as `services.list`: the operation's id in the document.
    pub name: &'static str,
}

/// What a call needs where tokens are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Free,
    /// A right over the service, or whatever else, that the path names.
    Named(Right),
    /// A right; the handler leaves out what the caller may not see.
    Listed(Right),
    /// As `Listed`, and nothing changes whatever the method says: it is not audited.
    Asked(Right),
    /// A right that is not limited to services.
    Whole(Right),
}

use Need::{Asked, Free, Listed, Named, Whole};
use Right::{Admin, Operate, Read, Register};

macro_rules! routes {
    ($($path:literal { $($method:ident $need:expr => $($handler:ident)::+;)+ })+) => {
        /// The table.
        pub const ROUTES: &[Route] = &[$($(Route { method: stringify!($method), path: $path, need: $need, name: concat!($(".", stringify!($handler)),+) },)+)+];

        fn paths() -> Router<Arc<Shared>> {
            Router::new()$(.route($path, MethodRouter::new()$(.$method($($handler)::+))+))+
        }

        #[derive(OpenApi)]
        #[openapi(
            paths($($($($handler)::+,)+)+),
            components(schemas(Problem, CheckFields)),
            info(title = "Signpost", description = "Register services, see their health, drain what must rest, and ask why a client is answered as it is."),
            servers((url = "/")),
        )]
        struct Described;
    };
}

routes! {
    "/v1/services" { get Listed(Read) => services::list; }
    "/v1/services/{service}" {
        get Named(Read) => services::get;
        put Named(Operate) => services::put;
        delete Named(Operate) => services::delete;
    }
    "/v1/services/{service}/instances/{id}" {
        get Named(Read) => instances::get;
        put Named(Register) => instances::put;
        delete Named(Register) => instances::delete;
    }
    "/v1/services/{service}/instances/{id}/heartbeat" { put Named(Register) => instances::beat; }
    "/v1/services/{service}/instances/{id}/status" { put Named(Register) => instances::push; }
    "/v1/heartbeats" { post Listed(Register) => heartbeats::post; }
    "/v1/drains" { get Listed(Read) => drains::list; }
    "/v1/drains/{kind}/{name}" {
        put Named(Operate) => drains::put;
        delete Named(Operate) => drains::delete;
    }
    "/v1/drains/{kind}/{outer}/{name}" {
        put Named(Operate) => drains::put_inner;
        delete Named(Operate) => drains::delete_inner;
    }
    "/v1/drains/{kind}/{name}/pause" { post Named(Operate) => drains::pause; }
    "/v1/drains/{kind}/{name}/resume" { post Named(Operate) => drains::resume; }
    "/v1/drains/{kind}/{outer}/{name}/pause" { post Named(Operate) => drains::pause_inner; }
    "/v1/drains/{kind}/{outer}/{name}/resume" { post Named(Operate) => drains::resume_inner; }
    "/v1/drills" {
        get Whole(Read) => drills::list;
        post Whole(Operate) => drills::begin;
    }
    "/v1/drills/{run}" {
        get Whole(Read) => drills::get;
        delete Whole(Operate) => drills::delete;
    }
    "/v1/keys" { get Whole(Read) => keys::list; }
    "/v1/keys/{zone}" { get Whole(Read) => keys::get; }
    "/v1/keys/{zone}/roll" { post Whole(Admin) => keys::roll; }
    "/v1/keys/{zone}/ds-seen" { post Whole(Admin) => keys::ds_seen; }
    "/v1/keys/{zone}/unsign" { post Whole(Admin) => keys::unsign; }
    "/v1/keys/{zone}/import" { post Whole(Admin) => keys::import; }
    "/v1/regions" { get Listed(Read) => regions::list; }
    "/v1/measurements" {
        get Whole(Read) => measurements::list;
        post Whole(Operate) => measurements::post;
    }
    "/v1/explain" { get Listed(Read) => explain::get; }
    "/v1/simulate" {
        get Listed(Read) => simulate::list;
        post Asked(Read) => simulate::compare;
    }
    "/v1/secondaries" { get Whole(Read) => updates::secondaries; }
    "/v1/zones/{zone}/updates" {
        get Whole(Read) => updates::list;
        delete Whole(Operate) => updates::delete;
    }
    "/v1/status" { get Listed(Read) => status::get; }
    "/v1/events" { get Listed(Read) => events::stream; }
    "/v1/sd/prometheus" { get Listed(Read) => discovery::prometheus; }
    "/metrics" { get Whole(Read) => status::metrics; }
    "/healthz" { get Free => status::healthz; }
    "/readyz" { get Free => status::readyz; }
    "/openapi.json" { get Free => document; }
    "/" { get Free => page::page; }
}

impl Route {
    /// Whether it takes heartbeats, which change nothing that an audit is about.
    pub fn is_beat(&self) -> bool {
        self.path == heartbeats::PATH || self.path.ends_with("/heartbeat")
    }
}

/// The router, before anything is put around it.
pub fn router() -> Router<Arc<Shared>> {
    paths()
        .fallback(|uri: Uri| async move { Problem::no_route(uri.path()) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move { Problem::method(method.as_str(), uri.path()) })
}

/// The line of the table for a request; HEAD is a GET.
pub fn find(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|route| route.path == path && route.method.eq_ignore_ascii_case(method.as_str()))
}

/// This document: OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "server", responses((status = 200, description = "The OpenAPI document", content_type = "application/json")))]
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The document as text. What Rust's documentation links is only quoted there.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| describe().to_json().unwrap_or_default().replace("[`", "`").replace("`]", "`"));

/// The document: what the handlers say of themselves, and what the table adds to each: its right, and that any refusal is a problem.
pub fn describe() -> utoipa::openapi::OpenApi {
    let mut described = Described::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of `[[api.token]]`; none is needed where none is configured."))
        .build();
    described.components.get_or_insert_default().security_schemes.insert("token".into(), SecurityScheme::Http(bearer).into());
    for route in ROUTES {
        let Some(operation) = described.paths.paths.get_mut(route.path).and_then(|item| operation(item, route.method)) else { continue };
        operation.operation_id = Some(route.name.trim_start_matches('.').into());
        let right = match route.need {
            Free => continue,
            Named(right) | Listed(right) | Asked(right) | Whole(right) => access::word(right),
        };
        operation.security = Some(vec![SecurityRequirement::new("token", [right])]);
        let said = operation.description.take().map(|text| text + "\n\n").unwrap_or_default();
        operation.description = Some(format!("{said}Needs the right `{right}` where tokens are configured."));
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let refusal = ResponseBuilder::new()
            .description("Refused: what is wrong, and which field is to blame")
            .content("application/problem+json", problem);
        operation.responses.responses.insert("default".into(), refusal.build().into());
    }
    described
}

fn operation<'i>(item: &'i mut PathItem, method: &str) -> Option<&'i mut Operation> {
    match method {
        "get" => item.get.as_mut(),
        "put" => item.put.as_mut(),
        "delete" => item.delete.as_mut(),
        "post" => item.post.as_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_lists_exactly_what_is_served() {
        let served: BTreeSet<String> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        let json = serde_json::to_value(describe()).unwrap();
        let mut listed = BTreeSet::new();
        for (path, item) in json["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys().filter(|key| ["get", "put", "delete", "post", "patch"].contains(&key.as_str()));
            listed.extend(methods.map(|method| format!("{method} {path}")));
        }
        assert_eq!(listed, served);
    }

    #[test]
    fn the_document_has_no_loose_ends() {
        let json = serde_json::to_value(describe()).unwrap();
        let text = json.to_string();
        let ids: BTreeSet<_> = ROUTES.iter().filter_map(|r| json["paths"][r.path][r.method]["operationId"].as_str()).collect();
        assert_eq!(ids.len(), ROUTES.len(), "ids are unique: {ids:?}");
        assert!(ids.contains("services.list"));
        for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(json["components"]["schemas"][reference].is_object(), "{reference} is not described");
        }
        // Each name in a path is a parameter, and every call that changes something may be refused.
        for route in ROUTES {
            let operation = &json["paths"][route.path][route.method];
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let described = parameters.iter().filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect::<Vec<_>>();
            let named = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect::<Vec<_>>();
            assert_eq!(described, named, "{} {}", route.method, route.path);
            assert_eq!(operation["responses"]["default"].is_object(), route.need != Free, "{} {}", route.method, route.path);
            assert!(operation["summary"].is_string(), "{} {}", route.method, route.path);
        }
    }
}
