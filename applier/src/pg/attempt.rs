//! In which order hosts and ways to talk to them are tried, for both kinds of connection.

use pgrelay_core::error::{Error, Kind, Result};
use tokio::time::timeout;

use super::endpoint::{Address, Endpoint, SessionAttrs, SslMode, Target};

/// Whether one attempt uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    Plain,
    /// When the server has it.
    Offered,
    Required,
}

/// Opens one kind of connection.
pub(super) trait Opening {
    type Session: Send;

    /// Connects and logs in.
    fn open(&self, target: &Target, encryption: Encryption, doing: &str) -> impl Future<Output = Result<Self::Session>> + Send;

    /// `pg_is_in_recovery()`.
    fn in_recovery(&self, session: &mut Self::Session) -> impl Future<Output = Result<bool>> + Send;
}

/// Tries the hosts in turn, each as `sslmode` says, until one lets in and is what `target_session_attrs` wants.
pub(super) async fn connect<O: Opening>(ep: &Endpoint, opening: &O) -> Result<O::Session> {
    let passes: &[SessionAttrs] = match ep.wanted {
        SessionAttrs::PreferStandby => &[SessionAttrs::Standby, SessionAttrs::Any],
        SessionAttrs::Any => &[SessionAttrs::Any],
        SessionAttrs::Primary => &[SessionAttrs::Primary],
        SessionAttrs::Standby => &[SessionAttrs::Standby],
    };
    let mut last = None;
    for wanted in passes {
        for target in &ep.targets {
            match within(ep, target, open(ep, target, *wanted, opening)).await {
                Ok(session) => return Ok(session),
                // As in libpq a host that answers and refuses ends the search.
                Err(e) if !matches!(e.kind, Kind::Connection | Kind::InsufficientResources | Kind::Timeout) => return Err(e),
                Err(e) => last = Some(e),
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::new(Kind::Connection, "there is no host to connect to")))
}

/// What is being done, for messages.
pub(super) fn doing(target: &Target) -> String {
    format!("cannot connect to host \"{}\" port {}", target.address, target.port)
}

async fn within<T>(ep: &Endpoint, target: &Target, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(limit) = ep.connect_timeout else { return work.await };
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::Connection, format!("{}: no answer in {} s", doing(target), limit.as_secs()))),
    }
}

async fn open<O: Opening>(ep: &Endpoint, target: &Target, wanted: SessionAttrs, opening: &O) -> Result<O::Session> {
    let doing = doing(target);
    let mut ways = ways(ep.tls.mode, target).iter();
    let mut way = ways.next().copied().unwrap_or(Encryption::Plain);
    let mut session = loop {
        match (opening.open(target, way, &doing).await, ways.next()) {
            (Ok(session), _) => break session,
            (Err(e), Some(next)) if other_way_may_help(&e) => {
                tracing::debug!(error = %e, "trying the other way that sslmode allows");
                way = *next;
            }
            (Err(e), _) => return Err(e),
        }
    };
    let expected = match wanted {
        SessionAttrs::Primary => false,
        SessionAttrs::Standby => true,
        SessionAttrs::Any | SessionAttrs::PreferStandby => return Ok(session),
    };
    if opening.in_recovery(&mut session).await? == expected {
        return Ok(session);
    }
    let found = if expected { "a primary" } else { "a standby" };
    Err(Error::new(Kind::Connection, format!("{doing}: the server is {found}, which \"target_session_attrs\" does not want")))
}

/// libpq's meaning of `sslmode`; a Unix socket never uses TLS.
fn ways(mode: SslMode, target: &Target) -> &'static [Encryption] {
    use Encryption::*;
    if matches!(target.address, Address::Unix(_)) {
        return &[Plain];
    }
    match mode {
        SslMode::Disable => &[Plain],
        SslMode::Allow => &[Plain, Required],
        SslMode::Prefer => &[Offered, Plain],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Required],
    }
}

/// pg_hba.conf has no line for this way (28000), or TLS itself failed.
fn other_way_may_help(e: &Error) -> bool {
    e.server_sqlstate.as_deref() == Some("28000")
        || std::error::Error::source(e).is_some_and(|cause| super::tls::tls_cause(cause).is_some())
}
