//! The web page at `/`: services, regions and drains at a glance, kept fresh by `/v1/events`. One file, nothing from elsewhere.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use super::problem::Problem;

const PAGE: &str = include_str!("page.html");

/// The web page. It reads the API as any client does, and asks for a token where one is needed.
#[utoipa::path(get, path = "/", tag = "server", responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub async fn page() -> Result<Response, Problem> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Problem::internal(format!("the system gives no random numbers: {error}")))?;
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    // Only the page's own script and style run, it talks to nobody else, and no other site can frame it.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE.replace("NONCE", &nonce))).into_response())
}
