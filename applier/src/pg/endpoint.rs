//! Where a server is and how to get in, fully resolved.
//!
//! The order is libpq's (documentation, 34.1.2, 34.15 to 34.17): connection string, then `extra` (the options of a foreign
//! server and a user mapping), then the service file, the environment, the defaults; a password also from the password file.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use pgrelay_core::conninfo::{self, Conninfo};
use pgrelay_core::error::{Error, Kind, Result};

use super::passfile::{self, Wanted};
use super::service;

/// Environment variables of libpq and the keys they stand for.
const ENVIRONMENT: [(&str, &str); 24] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("require_auth", "PGREQUIREAUTH"),
    ("requirepeer", "PGREQUIREPEER"),
    ("gssencmode", "PGGSSENCMODE"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
];

/// What would silently be weaker or different if it were ignored, and the values that change nothing.
const UNSUPPORTED: [(&str, &[&str]); 9] = [
    ("require_auth", &[]),
    ("requirepeer", &[]),
    ("sslcrldir", &[]),
    ("sslpassword", &[]),
    ("gssencmode", &["disable", "prefer"]),
    ("sslnegotiation", &["postgres"]),
    ("sslcertmode", &["allow"]),
    ("sslsni", &["1"]),
    ("load_balance_hosts", &["disable"]),
];

/// A daemon must not wait for a silent host forever, as libpq does by default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that vanished is noticed in about a minute; the default of most systems is two hours.
const KEEPALIVE: Keepalive = Keepalive { idle: Duration::from_secs(30), interval: Duration::from_secs(10), count: 3, user_timeout: None };

/// A fully resolved target: every host with its password, and how to talk to them.
#[derive(Clone)]
pub struct Endpoint {
    pub(super) targets: Vec<Target>,
    pub(super) dbname: String,
    pub(super) user: String,
    pub(super) application_name: Option<String>,
    pub(super) options: String,
    pub(super) tls: TlsFiles,
    pub(super) channel_binding: ChannelBinding,
    /// `None` waits forever (`connect_timeout=0`).
    pub(super) connect_timeout: Option<Duration>,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) wanted: SessionAttrs,
}

/// One host of the list.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) port: u16,
    pub(super) password: Option<String>,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// Folder of a Unix socket.
    Unix(PathBuf),
    /// The name that a certificate must bear, and the address to use instead of looking it up.
    Tcp { host: String, addr: Option<IpAddr> },
}

/// `sslmode`, in order of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Files and limits of TLS, as paths: they are read for each connection, so a renewed certificate is used at once.
#[derive(Debug, Clone)]
pub(super) struct TlsFiles {
    pub(super) mode: SslMode,
    pub(super) roots: Roots,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) crl: Option<PathBuf>,
    pub(super) tls12: bool,
    pub(super) tls13: bool,
}

/// Which authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// None is known: the certificate is not checked.
    Unknown,
    /// Those of the operating system (`sslrootcert=system`).
    System,
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Keepalive {
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
    pub(super) user_timeout: Option<Duration>,
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionAttrs {
    Any,
    Primary,
    Standby,
    PreferStandby,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({} sslmode={:?})", self.describe(), self.tls.mode)
    }
}

/// What libpq reads besides the connection string, so that tests can stand in for it.
pub(super) struct Surroundings {
    vars: HashMap<String, String>,
    os_user: Option<String>,
    socket_folder: PathBuf,
}

impl Surroundings {
    fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let vars = std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with("PG") || name == "HOME").collect();
        let debian = PathBuf::from("/var/run/postgresql");
        let socket_folder = if debian.is_dir() { debian } else { PathBuf::from("/tmp") };
        Surroundings { vars, os_user: whoami::username().ok(), socket_folder }
    }

    pub(super) fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    pub(super) fn home(&self) -> Option<PathBuf> {
        self.var("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
    }

    /// A file of `~/.postgresql` that exists.
    fn own_file(&self, name: &str) -> Option<PathBuf> {
        self.home().map(|home| home.join(".postgresql").join(name)).filter(|path| path.exists())
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidValue, message)
}

impl Endpoint {
    /// Resolves `conninfo` (which must not hold a password), then `extra`, the service file, the environment and the defaults.
    ///
    /// `extra` are the options of a foreign server and a user mapping; those that are no parameters of libpq are left out.
    pub fn resolve(conninfo: &str, extra: &[(String, String)]) -> Result<Endpoint> {
        Self::resolve_in(conninfo, extra, &Surroundings::of_process())
    }

    fn resolve_in(text: &str, extra: &[(String, String)], around: &Surroundings) -> Result<Endpoint> {
        if !text.is_empty() && !conninfo::is_conninfo(text) {
            return Err(invalid("the text is not a connection string").hint("It is written as host=... dbname=..., or as a URI."));
        }
        let values = Values::gather(conninfo::check_source(text)?, extra, around)?;
        values.refuse_unsupported()?;
        let user = match values.get("user") {
            Some(user) => user.to_string(),
            None => around.os_user.clone().ok_or_else(|| invalid("no user is given and the operating system knows no name"))?,
        };
        let dbname = values.get("dbname").unwrap_or(&user).to_string();
        let keepalive = if values.get("keepalives") == Some("0") { None } else { Some(values.keepalive()?) };
        let connect_timeout = match values.number("connect_timeout")? {
            None => Some(CONNECT_TIMEOUT),
            Some(seconds) if seconds <= 0 => None,
            // libpq never waits less than two seconds.
            Some(seconds) => Some(Duration::from_secs(seconds.max(2) as u64)),
        };
        let channel_binding = values.one_of(
            "channel_binding",
            &[("prefer", ChannelBinding::Prefer), ("require", ChannelBinding::Require), ("disable", ChannelBinding::Disable)],
        )?;
        let wanted = values.one_of(
            "target_session_attrs",
            &[
                ("any", SessionAttrs::Any),
                ("read-write", SessionAttrs::Primary),
                ("primary", SessionAttrs::Primary),
                ("read-only", SessionAttrs::Standby),
                ("standby", SessionAttrs::Standby),
                ("prefer-standby", SessionAttrs::PreferStandby),
            ],
        )?;
        let name = values.get("application_name").or_else(|| values.get("fallback_application_name"));
        Ok(Endpoint {
            targets: values.targets(&dbname, &user, around)?,
            application_name: name.map(str::to_string),
            options: values.get("options").unwrap_or_default().to_string(),
            tls: values.tls(around)?,
            dbname,
            user,
            channel_binding,
            connect_timeout,
            keepalive,
            wanted,
        })
    }

    /// Host, port, database and user, without secrets: `host=db2 port=5432 dbname=app user=mover`.
    pub fn describe(&self) -> String {
        let hosts = self.targets.iter().map(|t| t.address.to_string()).collect::<Vec<_>>().join(",");
        let ports = self.targets.iter().map(|t| t.port.to_string()).collect::<Vec<_>>().join(",");
        format!("host={hosts} port={ports} dbname={} user={}", self.dbname, self.user)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(folder) => write!(f, "{}", folder.display()),
            Address::Tcp { host, .. } => f.write_str(host),
        }
    }
}

/// All parameters, each from the first place that has it.
struct Values(HashMap<String, String>);

impl Values {
    fn gather(info: Conninfo, extra: &[(String, String)], around: &Surroundings) -> Result<Values> {
        // Of equal keys in a connection string the last counts.
        let mut values: HashMap<String, String> = info.pairs.into_iter().collect();
        let mut add = |key: &str, value: &str| {
            values.entry(key.to_string()).or_insert_with(|| value.to_string());
        };
        let known = |key: &str| conninfo::is_key(key) || matches!(key, "password" | "sslpassword");
        extra.iter().filter(|(key, _)| known(key)).for_each(|(key, value)| add(key, value));
        let service = values.get("service").cloned().or_else(|| around.var("PGSERVICE").map(str::to_string));
        if let Some(name) = service.filter(|name| !name.is_empty()) {
            for (key, value) in service::lookup(&name, values.get("servicefile").map(String::as_str), around)? {
                values.entry(key).or_insert(value);
            }
        }
        for (key, variable) in ENVIRONMENT {
            if let Some(value) = around.var(variable) {
                values.entry(key.to_string()).or_insert_with(|| value.to_string());
            }
        }
        Ok(Values(values))
    }

    /// The value, when it is given and not empty: an empty value means the default, also where a later place has one.
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn refuse_unsupported(&self) -> Result<()> {
        for (key, harmless) in UNSUPPORTED {
            if self.get(key).is_some_and(|value| !harmless.contains(&value)) {
                return Err(Error::new(Kind::NotSupported, format!("connection parameter \"{key}\" is not supported with this value")));
            }
        }
        Ok(())
    }

    fn number(&self, key: &str) -> Result<Option<i64>> {
        let parse = |value: &str| value.trim().parse().map_err(|_| invalid(format!("connection parameter \"{key}\" is not a number")));
        self.get(key).map(parse).transpose()
    }

    /// The value of the word given for `key`; the first of `words` is the default.
    fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<T> {
        let given = self.get(key).unwrap_or(words[0].0);
        words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value).ok_or_else(|| {
            let words = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            invalid(format!("connection parameter \"{key}\" has an unknown value")).hint(format!("It is one of {words}."))
        })
    }

    fn keepalive(&self) -> Result<Keepalive> {
        let seconds = |key: &str, default: Duration| -> Result<Duration> {
            Ok(self.number(key)?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).map_or(default, Duration::from_secs))
        };
        let count = self.number("keepalives_count")?.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let user_timeout = self.number("tcp_user_timeout")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        Ok(Keepalive {
            idle: seconds("keepalives_idle", KEEPALIVE.idle)?,
            interval: seconds("keepalives_interval", KEEPALIVE.interval)?,
            count: count.unwrap_or(KEEPALIVE.count),
            user_timeout: user_timeout.map(Duration::from_millis),
        })
    }

    fn targets(&self, dbname: &str, user: &str, around: &Surroundings) -> Result<Vec<Target>> {
        let list = |key: &str| self.get(key).map(|v| v.split(',').map(|v| v.trim().to_string()).collect::<Vec<_>>());
        let (hosts, addrs) = (list("host"), list("hostaddr"));
        let count = hosts.as_ref().or(addrs.as_ref()).map_or(1, Vec::len);
        let ports = conninfo::parse_ports(self.get("port").unwrap_or_default())?;
        if addrs.as_ref().is_some_and(|addrs| addrs.len() != count) || !(ports.len() == 1 || ports.len() == count) {
            return Err(invalid("the lists of \"host\", \"hostaddr\" and \"port\" differ in length"));
        }
        let at = |list: &Option<Vec<String>>, i: usize| list.as_ref().and_then(|l| l.get(i)).filter(|v| !v.is_empty()).cloned();
        (0..count)
            .map(|i| {
                let port = ports[i.min(ports.len() - 1)].unwrap_or(5432);
                let (host, addr) = (at(&hosts, i), at(&addrs, i));
                let address = address(host, addr, around)?;
                let name = match &address {
                    Address::Unix(folder) if *folder == around.socket_folder => "localhost".to_string(),
                    other => other.to_string(),
                };
                let wanted = Wanted { host: &name, port, dbname, user };
                let password = match self.get("password") {
                    Some(password) => Some(password.to_string()),
                    None => self.passfile(around).and_then(|path| passfile::lookup(&path, wanted)),
                };
                Ok(Target { address, port, password })
            })
            .collect()
    }

    fn passfile(&self, around: &Surroundings) -> Option<PathBuf> {
        self.get("passfile").map(PathBuf::from).or_else(|| around.home().map(|home| home.join(".pgpass")))
    }

    fn tls(&self, around: &Surroundings) -> Result<TlsFiles> {
        let system = self.get("sslrootcert") == Some("system");
        let modes = [
            ("prefer", SslMode::Prefer),
            ("disable", SslMode::Disable),
            ("allow", SslMode::Allow),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ];
        let mode = match self.get("sslmode") {
            None if system => SslMode::VerifyFull,
            _ => self.one_of("sslmode", &modes)?,
        };
        if system && mode != SslMode::VerifyFull {
            return Err(invalid("\"sslrootcert=system\" goes with \"sslmode=verify-full\" only"));
        }
        let file = |key: &str, default: &str| self.get(key).map(PathBuf::from).or_else(|| around.own_file(default));
        let roots = match file("sslrootcert", "root.crt") {
            _ if system => Roots::System,
            Some(path) => Roots::File(path),
            None if mode >= SslMode::VerifyCa => {
                return Err(invalid("\"sslmode\" asks to check the certificate, and no root certificate is there to check it against")
                    .hint(
                        "Name it by \"sslrootcert\" (\"system\" for those of the operating system), or put it into ~/.postgresql/root.crt.",
                    ));
            }
            None => Roots::Unknown,
        };
        let versions = [("", 0), ("TLSv1", 0), ("TLSv1.1", 1), ("TLSv1.2", 2), ("TLSv1.3", 3)];
        let min = self.one_of("ssl_min_protocol_version", &versions)?;
        let max = if self.get("ssl_max_protocol_version").is_none() { 3 } else { self.one_of("ssl_max_protocol_version", &versions)? };
        let (tls12, tls13) = (min <= 2 && max >= 2, max >= 3);
        if !(tls12 || tls13) {
            return Err(Error::new(Kind::NotSupported, "TLS before version 1.2 is not supported"));
        }
        let cert = file("sslcert", "postgresql.crt");
        let key = file("sslkey", "postgresql.key");
        Ok(TlsFiles { mode, roots, cert, key, crl: file("sslcrl", "root.crl"), tls12, tls13 })
    }
}

fn address(host: Option<String>, addr: Option<String>, around: &Surroundings) -> Result<Address> {
    let addr = match addr {
        None => None,
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| invalid("\"hostaddr\" is not an IP address"))?),
    };
    Ok(match (host, addr) {
        (Some(host), addr) if addr.is_some() || !host.starts_with('/') => Address::Tcp { host, addr },
        (Some(folder), _) => Address::Unix(PathBuf::from(folder)),
        (None, Some(addr)) => Address::Tcp { host: addr.to_string(), addr: Some(addr) },
        (None, None) => Address::Unix(around.socket_folder.clone()),
    })
}

#[cfg(test)]
mod tests;
