//! Who may do what (DESIGN §10).
//!
//! With tokens configured, every request but those for `/`, `/healthz`, `/readyz` and `/openapi.json` needs `Authorization: Bearer SECRET`
//! of a token that has the right, and, where it is limited to services, whose prefixes hold the service in question.
//!
//! Without tokens everything is allowed, so the listener must not be reachable by strangers: it is on loopback, or the operator said
//! `insecure = true`. What still can reach a loopback listener is a browser on the same machine that shows a hostile page. Two guards
//! keep it out, and both cost honest clients nothing:
//!
//! - *DNS rebinding*: a page from `attacker.example` whose name is made to point at 127.0.0.1 is same-origin with us and could read and
//!   write everything. It cannot change the `Host` it sends, so only IP addresses and `localhost` are accepted there. With
//!   `insecure = true` every host name is: other machines know this one by names that cannot be guessed here.
//! - *Cross-site requests*: a page may send a request whose answer it cannot read. Browsers put `Origin` on every such write; it must be
//!   our own host. Reads change nothing, and no CORS header ever lets another origin see an answer.
//!
//! A token needs neither guard: browsers never attach it by themselves.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, Uri, header, uri::Authority};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::model::{Label, Right, Token};

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub struct Access {
    tokens: Vec<Arc<Token>>,
    insecure: bool,
}

/// Who asks, once that is known.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Anyone: the API needs no tokens, or the route needs none.
    Local,
    /// The bearer of a token.
    Token(Arc<Token>),
}

/// What a request is about: what a token limited to services may not exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One service.
    Service(String),
    /// Something that every service shares, such as a region.
    Everything,
    /// A list from which the handler leaves out what the caller may not see.
    Narrowed,
}

impl Access {
    /// Rules from settings.
    pub fn new(tokens: &[Token], insecure: bool) -> Access {
        Access { tokens: tokens.iter().cloned().map(Arc::new).collect(), insecure }
    }

    /// Refuses what a hostile page could make a browser send, where no token protects against it.
    pub fn guard(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.tokens.is_empty() {
            return Ok(());
        }
        // HTTP/2 carries the host as `:authority` (RFC 9113 §8.3.1).
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).or(uri.authority().map(Authority::as_str));
        if !self.insecure && !host.is_some_and(names_this_machine) {
            let host = host.unwrap_or_default();
            let detail = format!(
                "without tokens the API answers to IP addresses and localhost, not to {host:?}; configure [[api.token]] to use names"
            );
            return Err(Problem::cross_site("Host", detail));
        }
        if method.is_safe() {
            return Ok(());
        }
        match headers.get(header::ORIGIN).map(|o| o.to_str().unwrap_or("null")) {
            None => Ok(()),
            Some(origin) => match (origin.split_once("://"), host) {
                (Some(("http" | "https", origin)), Some(host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
                _ => Err(Problem::cross_site("Origin", format!("a page of {origin:?} may not change anything here"))),
            },
        }
    }

    /// Whether whoever was let in before would be let in as the same now: a token that was revoked or changed is not.
    pub fn holds(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Local => self.tokens.is_empty(),
            Caller::Token(token) => self.tokens.contains(token),
        }
    }

    /// Finds out who asks. Every token is compared, in constant time, so that neither time nor order tells anything of a secret.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.tokens.is_empty() {
            return Ok(Caller::Local);
        }
        let Some(given) = headers.get(header::AUTHORIZATION) else {
            let detail = "this API needs a token: send `Authorization: Bearer SECRET`";
            return Err(Problem::unauthenticated(detail, r#"Bearer realm="signpost""#));
        };
        // The scheme compares without case (RFC 9110 §11.1).
        let secret = given.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let found = secret.and_then(|(_, secret)| {
            let hash: [u8; 32] = Sha256::digest(secret.trim().as_bytes()).into();
            self.tokens.iter().fold(None, |found, token| if bool::from(token.hash.ct_eq(&hash)) { Some(token) } else { found })
        });
        match found {
            Some(token) => Ok(Caller::Token(token.clone())),
            None => {
                let detail = match secret {
                    Some(_) => "the token is not known here",
                    None => "the Authorization header is not of the form `Bearer SECRET`",
                };
                Err(Problem::unauthenticated(detail, r#"Bearer realm="signpost", error="invalid_token""#))
            }
        }
    }
}

impl Caller {
    /// The name in drains, events and the audit log.
    pub fn author(&self) -> &str {
        match self {
            Caller::Local => "local",
            Caller::Token(token) => &token.name,
        }
    }

    /// Refuses what the caller has no right to, and says what is missing.
    pub fn may(&self, right: Right, scope: &Scope) -> Result<(), Problem> {
        let Caller::Token(token) = self else { return Ok(()) };
        if !token.rights.iter().any(|held| *held == right || *held == Right::Admin) {
            return Err(Problem::forbidden(format!("token {:?} lacks the right `{}`", token.name, word(right))));
        }
        let limits = || token.services.iter().map(|prefix| format!("{prefix}*")).collect::<Vec<_>>().join(", ");
        match scope {
            Scope::Narrowed => Ok(()),
            Scope::Service(service) if self.sees(service) => Ok(()),
            Scope::Service(service) => {
                Err(Problem::forbidden(format!("token {:?} is for services {}, and {service} is none of them", token.name, limits())))
            }
            Scope::Everything if token.services.is_empty() => Ok(()),
            Scope::Everything => Err(Problem::forbidden(format!(
                "token {:?} is for services {} only, and this concerns every service",
                token.name,
                limits()
            ))),
        }
    }

    /// Whether a service is among those that the caller is for.
    pub fn sees(&self, service: &str) -> bool {
        match self {
            Caller::Local => true,
            Caller::Token(token) => token.services.is_empty() || token.services.iter().any(|prefix| service.starts_with(prefix.as_str())),
        }
    }

    /// Whether the service of a label is among those that the caller is for.
    pub fn sees_label(&self, service: &Label) -> bool {
        self.sees(service.as_str())
    }
}

/// A right as it is written in settings.
pub fn word(right: Right) -> &'static str {
    match right {
        Right::Read => "read",
        Right::Register => "register",
        Right::Operate => "operate",
        Right::Admin => "admin",
    }
}

/// Whether a `Host` is an IP address or `localhost` (RFC 6761 §6.3), with or without a port: what no foreign DNS can point at us.
fn names_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(&name);
    literal.parse::<std::net::IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    fn token(name: &str, secret: &str, rights: &[Right], services: &[&str]) -> Token {
        Token {
            name: name.into(),
            hash: Sha256::digest(secret.as_bytes()).into(),
            rights: rights.into(),
            services: services.iter().map(|s| s.to_string()).collect(),
        }
    }

    #[test]
    fn pages_of_other_sites_are_kept_out_where_there_are_no_tokens() {
        let check = |insecure: bool, method: &str, pairs: &[(&str, &str)], blamed: Option<&str>| {
            let found = Access::new(&[], insecure).guard(&method.parse().unwrap(), &"/v1/x".parse().unwrap(), &headers(pairs));
            assert_eq!(found.err().and_then(|p| p.field), blamed.map(String::from), "{method} {pairs:?}");
        };
        check(false, "GET", &[("host", "127.0.0.1:8053")], None);
        check(false, "GET", &[("host", "[::1]:8053")], None);
        check(false, "GET", &[("host", "LocalHost")], None);
        check(false, "GET", &[("host", "api.localhost:8053")], None);
        check(false, "GET", &[("host", "attacker.example:8053")], Some("Host"));
        check(false, "GET", &[("host", "127.0.0.1.attacker.example")], Some("Host"));
        check(false, "GET", &[("host", "localhost.attacker.example")], Some("Host"));
        check(false, "GET", &[], Some("Host"));
        check(true, "GET", &[("host", "signpost.internal:8053")], None);
        check(false, "PUT", &[("host", "127.0.0.1:8053"), ("origin", "http://127.0.0.1:8053")], None);
        check(false, "PUT", &[("host", "127.0.0.1:8053"), ("origin", "http://127.0.0.1:9999")], Some("Origin"));
        check(false, "DELETE", &[("host", "127.0.0.1:8053"), ("origin", "null")], Some("Origin"));
        check(true, "POST", &[("host", "signpost:8053"), ("origin", "https://attacker.example")], Some("Origin"));
        check(false, "GET", &[("host", "127.0.0.1:8053"), ("origin", "https://attacker.example")], None);
        // With tokens a browser has nothing to be tricked with.
        let locked = Access::new(&[token("t", "s", &[Right::Admin], &[])], false);
        assert!(locked.guard(&Method::PUT, &"/".parse().unwrap(), &headers(&[("host", "signpost.example")])).is_ok());
    }

    #[test]
    fn tokens_are_known_by_their_hash() {
        let access = Access::new(&[token("deploy", "s3cret", &[Right::Register], &[]), token("ops", "other", &[Right::Admin], &[])], false);
        let check = |authorization: Option<&str>, author: Result<&str, &str>| {
            let pairs: Vec<_> = authorization.map(|a| ("authorization", a)).into_iter().collect();
            match (access.authenticate(&headers(&pairs)), author) {
                (Ok(caller), Ok(author)) => assert_eq!(caller.author(), author),
                (Err(problem), Err(said)) => {
                    assert_eq!(problem.status, 401);
                    assert!(problem.detail.contains(said), "{}", problem.detail);
                }
                (found, _) => panic!("{authorization:?}: {found:?}"),
            }
        };
        check(Some("Bearer s3cret"), Ok("deploy"));
        check(Some("bearer other"), Ok("ops"));
        check(Some("Bearer s3cre"), Err("not known"));
        check(Some("Bearer "), Err("not known"));
        check(Some("Basic s3cret"), Err("form"));
        check(None, Err("needs a token"));
        assert_eq!(Access::default().authenticate(&headers(&[])).unwrap().author(), "local");
    }

    #[test]
    fn rights_stand_alone_and_prefixes_limit_them() {
        let may = |rights: &[Right], services: &[&str], right: Right, scope: Scope| {
            Caller::Token(Arc::new(token("t", "s", rights, services))).may(right, &scope).map_err(|p| p.detail)
        };
        let service = |s: &str| Scope::Service(s.into());
        assert!(may(&[Right::Read], &[], Right::Read, Scope::Everything).is_ok());
        assert!(may(&[Right::Read], &[], Right::Operate, Scope::Everything).unwrap_err().contains("`operate`"));
        assert!(may(&[Right::Operate], &[], Right::Read, Scope::Narrowed).unwrap_err().contains("`read`"));
        assert!(may(&[Right::Admin], &["web"], Right::Register, service("web-api")).is_ok());
        assert!(may(&[Right::Register], &["web"], Right::Register, service("db")).unwrap_err().contains("web*"));
        assert!(may(&[Right::Operate], &["web"], Right::Operate, Scope::Everything).unwrap_err().contains("every service"));
        assert!(may(&[Right::Read], &["web"], Right::Read, Scope::Narrowed).is_ok());
    }
}
