//! Ordinary sessions, on tokio-postgres. Whatever a role, a database or a server has set, a session of pgrelay reads and
//! writes values in one way only: the settings of [`PINNED`] come with the startup packet and outrank them.

use std::future::poll_fn;

use pgrelay_core::error::{Error, Kind, Result};
use postgres_protocol::escape::escape_literal;
use tokio::sync::mpsc;
use tokio_postgres::config::{ChannelBinding as Binding, SslMode as Mode};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::attempt::{self, Encryption, Opening};
use super::endpoint::{Address, ChannelBinding, Endpoint, Target};
use super::error::server_error;
use super::tls;

macro_rules! message {
    () => {
        "pg_catalog.pg_logical_emit_message(true, 'pgrelay', ''::pg_catalog.text)::pg_catalog.text"
    };
}

/// Something for a transaction to write where it writes nothing else: an expression, whose value is its position as text.
pub const MESSAGE: &str = message!();

/// The same as a statement.
pub const EMPTY_MESSAGE: &str = concat!("SELECT ", message!());

/// Name, value and reason of every setting that each session of pgrelay has.
pub const PINNED: &[(&str, &str, &str)] = &[
    ("DateStyle", "ISO,YMD", "dates as text read the same on both sides"),
    ("IntervalStyle", "postgres", "intervals as text read the same on both sides"),
    ("extra_float_digits", "3", "floats as text lose nothing, on every version"),
    ("bytea_output", "hex", "bytea as text has one form"),
    ("TimeZone", "UTC", "timestamptz as text needs no rules of time zones, which differ between servers"),
    ("search_path", "", "a name means what it says, and nobody's object is found instead of pg_catalog's"),
    ("client_encoding", "UTF8", "names and text are UTF-8 in every message"),
    ("lc_monetary", "C", "money as text has one form"),
    ("xmloption", "content", "every value of type xml can be read back"),
    ("standard_conforming_strings", "on", "a backslash in a literal is a backslash"),
    ("row_security", "off", "a role without BYPASSRLS fails instead of copying half a table in silence"),
    ("default_transaction_read_only", "off", "a default meant for users must not stop apply"),
    ("statement_timeout", "0", "a copy or a validation may take hours"),
    ("lock_timeout", "0", "whoever waits for a lock decides himself how long"),
    ("idle_in_transaction_session_timeout", "0", "a transaction that holds a snapshot may be idle"),
];

/// Settings that older servers do not know: the first version that does, name and value. Set after connecting.
pub(super) const PINNED_SINCE: &[(u32, &str, &str)] = &[(140000, "idle_session_timeout", "0"), (170000, "transaction_timeout", "0")];

/// The startup packet's `options`: those of the connection string first, so that the pinned ones win.
pub(super) fn startup_options(ep: &Endpoint, more: &[(&str, &str)]) -> String {
    let pinned = PINNED.iter().map(|(name, value, _)| (*name, *value));
    let mut out = ep.options.clone();
    for (name, value) in pinned.chain(more.iter().copied()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str("-c ");
        // The server cuts at white space unless a backslash stands before it.
        for c in name.chars().chain(['=']).chain(value.chars()) {
            if c.is_ascii_whitespace() || c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

/// The statement that sets what is left to set after connecting, if anything.
pub(super) fn settings_sql(version: u32, settings: &[(&str, &str)]) -> Option<String> {
    let since = PINNED_SINCE.iter().filter(|(first, ..)| version >= *first).map(|(_, name, value)| (*name, *value));
    let calls = since
        .chain(settings.iter().copied())
        .map(|(name, value)| format!("pg_catalog.set_config({}, {}, false)", escape_literal(name), escape_literal(value)))
        .collect::<Vec<_>>();
    if calls.is_empty() { None } else { Some(format!("SELECT {}", calls.join(", "))) }
}

/// `server_version` (`15.20 (Debian 15.20-1)`, `18beta1`) as a number (150020, 180000).
pub(super) fn version_number(text: &str) -> Option<u32> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse::<u32>().ok()?;
    let minor = if text.contains('.') { parts.next()?.parse().ok()? } else { 0 };
    Some(major * 10000 + minor)
}

/// Opens a session. The name in the connection string or PGAPPNAME, when given, goes before `application_name`.
/// `settings` are set for this session besides the pinned ones.
pub async fn connect(ep: &Endpoint, application_name: &str, settings: &[(&str, &str)]) -> Result<Client> {
    Ok(connect_listening(ep, application_name, settings).await?.0)
}

/// Like [`connect`], with what arrives by LISTEN. The receiver ends with the connection.
pub async fn connect_listening(
    ep: &Endpoint,
    application_name: &str,
    settings: &[(&str, &str)],
) -> Result<(Client, mpsc::UnboundedReceiver<Notification>)> {
    let opening = Ordinary { ep, application_name, settings, connector: MakeRustlsConnect::new(tls::config(&ep.tls)?) };
    attempt::connect(ep, &opening).await
}

/// Asks the server to cancel what a session of `ep` is running.
pub async fn cancel(ep: &Endpoint, token: &CancelToken) -> Result<()> {
    let connector = MakeRustlsConnect::new(tls::config(&ep.tls)?);
    token.cancel_query(connector).await.map_err(|e| server_error(e, "cannot cancel the statement"))
}

struct Ordinary<'a> {
    ep: &'a Endpoint,
    application_name: &'a str,
    settings: &'a [(&'a str, &'a str)],
    connector: MakeRustlsConnect,
}

impl Ordinary<'_> {
    fn config(&self, target: &Target, encryption: Encryption) -> Config {
        let ep = self.ep;
        let mut config = Config::new();
        match &target.address {
            Address::Unix(folder) => config.host_path(folder),
            Address::Tcp { host, addr } => {
                addr.iter().for_each(|addr| {
                    config.hostaddr(*addr);
                });
                config.host(host)
            }
        };
        config.port(target.port).user(&ep.user).dbname(&ep.dbname).options(startup_options(ep, &[]));
        config.application_name(ep.application_name.as_deref().unwrap_or(self.application_name));
        config.ssl_mode(match encryption {
            Encryption::Plain => Mode::Disable,
            Encryption::Offered => Mode::Prefer,
            Encryption::Required => Mode::Require,
        });
        config.channel_binding(match ep.channel_binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        });
        if let Some(password) = &target.password {
            config.password(password);
        }
        config.keepalives(ep.keepalive.is_some());
        if let Some(keepalive) = ep.keepalive {
            config.keepalives_idle(keepalive.idle).keepalives_interval(keepalive.interval).keepalives_retries(keepalive.count);
            keepalive.user_timeout.iter().for_each(|limit| {
                config.tcp_user_timeout(*limit);
            });
        }
        config
    }
}

impl Opening for Ordinary<'_> {
    type Session = (Client, mpsc::UnboundedReceiver<Notification>);

    async fn open(&self, target: &Target, encryption: Encryption, doing: &str) -> Result<Self::Session> {
        let connected = self.config(target, encryption).connect(self.connector.clone()).await;
        let (client, mut connection) = connected.map_err(|e| match tls::tls_cause(&e) {
            Some(cause) => tls::tls_error(cause, doing),
            None => server_error(e, doing),
        })?;
        let version = connection.parameter("server_version").and_then(version_number);
        let version = version.ok_or_else(|| Error::new(Kind::Protocol, format!("{doing}: the server does not tell its version")))?;
        let (sender, receiver) = mpsc::unbounded_channel();
        // Polled message by message: tokio-postgres would log the text of notices, which may hold row values.
        tokio::spawn(async move {
            loop {
                match poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notification(notification))) => drop(sender.send(notification)),
                    Some(Ok(AsyncMessage::Notice(notice))) => {
                        tracing::debug!(severity = notice.severity(), code = notice.code().code(), "notice from the server");
                    }
                    Some(Ok(_)) => {}
                    Some(Err(e)) => {
                        tracing::debug!(error = %server_error(e, "the session ended"));
                        return;
                    }
                    None => {
                        tracing::debug!("the session ended");
                        return;
                    }
                }
            }
        });
        if let Some(sql) = settings_sql(version, self.settings) {
            client.batch_execute(&sql).await.map_err(|e| server_error(e, "cannot set up the session"))?;
        }
        Ok((client, receiver))
    }

    async fn in_recovery(&self, session: &mut Self::Session) -> Result<bool> {
        let row = session.0.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]).await;
        Ok(row.map_err(|e| server_error(e, "cannot ask whether the server is a standby"))?.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, number) in [("15.20 (Debian 15.20-1.pgdg12+1)", 150020), ("18beta1", 180000), ("17.0", 170000), ("16devel", 160000)] {
            assert_eq!(version_number(text), Some(number), "{text}");
        }
        assert_eq!(version_number("x"), None);
    }

    #[test]
    fn settings_are_quoted() {
        assert_eq!(settings_sql(130000, &[]), None);
        assert_eq!(settings_sql(150000, &[]).as_deref(), Some("SELECT pg_catalog.set_config('idle_session_timeout', '0', false)"));
        assert_eq!(settings_sql(130000, &[("a.b", "it's")]).as_deref(), Some("SELECT pg_catalog.set_config('a.b', 'it''s', false)"));
    }
}
