//! Startup packet and authentication: SCRAM with channel binding, md5, a password in clear text where nobody can read along,
//! a client certificate, trust.

use pgrelay_core::error::{Error, Kind, Result};
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;

use super::link::Link;
use crate::pg::endpoint::{ChannelBinding, Endpoint, Target};
use crate::pg::error::{ServerReport, no_password};
use crate::pg::session::{startup_options, version_number};
use crate::pg::wire::{Fields, malformed};

/// What the server told while letting us in.
pub(super) struct Greeting {
    pub(super) version: u32,
    pub(super) process_id: i32,
    pub(super) secret: i32,
}

/// Who wants in, and how.
pub(super) struct Login<'a> {
    pub(super) ep: &'a Endpoint,
    pub(super) target: &'a Target,
    pub(super) application_name: &'a str,
    /// Whether the session takes replication commands.
    pub(super) replication: bool,
    pub(super) options: &'a [(&'a str, &'a str)],
    pub(super) doing: &'a str,
}

/// Bad strings (a zero byte) are the only reason why a message cannot be written.
fn unwritable(e: std::io::Error) -> Error {
    Error::new(Kind::InvalidValue, "a connection parameter holds a zero byte").caused_by(e)
}

impl Login<'_> {
    pub(super) async fn run(&self, link: &mut Link) -> Result<Greeting> {
        let options = startup_options(self.ep, self.options);
        let params = [
            ("user", self.ep.user.as_str()),
            ("database", self.ep.dbname.as_str()),
            ("replication", if self.replication { "database" } else { "false" }),
            ("client_encoding", "UTF8"),
            ("application_name", self.ep.application_name.as_deref().unwrap_or(self.application_name)),
            ("options", &options),
        ];
        frontend::startup_message(params, link.outbox()).map_err(unwritable)?;
        link.flush().await?;
        let bound = self.authenticate(link).await?;
        if !bound && self.ep.channel_binding == ChannelBinding::Require {
            return Err(self.error(Kind::Configuration, "the server did not use channel binding, which \"channel_binding\" asks for"));
        }
        let greeting = self.greeting(link).await?;
        link.logged_in();
        Ok(greeting)
    }

    fn error(&self, kind: Kind, what: &str) -> Error {
        Error::new(kind, format!("{}: {what}", self.doing))
    }

    /// The next message but notices.
    async fn message(&self, link: &mut Link) -> Result<(u8, bytes::Bytes)> {
        loop {
            match link.message().await {
                Ok((b'N' | b'v', _)) => {}
                Ok((b'E', body)) => return Err(ServerReport::parse(&body).into_error(self.doing)),
                Ok(message) => return Ok(message),
                Err(e) => return Err(self.error(e.kind, &e.message).caused_by(e)),
            }
        }
    }

    /// The code and data of an authentication request.
    async fn request(&self, link: &mut Link) -> Result<(i32, bytes::Bytes)> {
        match self.message(link).await? {
            (b'R', body) => Ok((Fields::new(&body).i32()?, body.slice(4..))),
            _ => Err(malformed("it does not belong into a login")),
        }
    }

    fn password(&self) -> Result<&[u8]> {
        self.target.password.as_deref().map(str::as_bytes).ok_or_else(|| no_password(self.doing))
    }

    /// Answers what the server asks; true when the password was bound to this TLS connection.
    async fn authenticate(&self, link: &mut Link) -> Result<bool> {
        let (code, data) = self.request(link).await?;
        let mut bound = false;
        match code {
            0 => return Ok(false),
            3 if link.transport().is_private() => {
                frontend::password_message(self.password()?, link.outbox()).map_err(unwritable)?;
            }
            3 => {
                return Err(self
                    .error(Kind::Configuration, "the server asks for the password in clear text, over a connection that others can read")
                    .hint("Use sslmode=require or better, or scram-sha-256 in the server's pg_hba.conf."));
            }
            5 => {
                let salt: [u8; 4] = Fields::new(&data).bytes(4)?.try_into().map_err(|_| malformed("a salt of another length"))?;
                let hash = md5_hash(self.ep.user.as_bytes(), self.password()?, salt);
                frontend::password_message(hash.as_bytes(), link.outbox()).map_err(unwritable)?;
            }
            10 => bound = self.scram(link, &data).await?,
            _ => {
                return Err(self
                    .error(Kind::NotSupported, "the server asks for a kind of authentication that is not supported")
                    .hint("Give the applier's role scram-sha-256 or cert in the server's pg_hba.conf."));
            }
        }
        link.flush().await?;
        match self.request(link).await?.0 {
            0 => Ok(bound),
            _ => Err(malformed("it does not belong into a login")),
        }
    }

    /// SCRAM-SHA-256, with channel binding where both sides have it. Fails unless the server proves that it knows the password.
    async fn scram(&self, link: &mut Link, mechanisms: &[u8]) -> Result<bool> {
        let offered: Vec<&[u8]> = mechanisms.split(|b| *b == 0).collect();
        let has = |name: &str| offered.contains(&name.as_bytes());
        if !has(sasl::SCRAM_SHA_256) && !has(sasl::SCRAM_SHA_256_PLUS) {
            return Err(self.error(Kind::NotSupported, "the server asks for a kind of SASL that is not supported"));
        }
        let end_point = link.transport().end_point().filter(|_| self.ep.channel_binding != ChannelBinding::Disable);
        let (binding, mechanism) = match end_point {
            Some(data) if has(sasl::SCRAM_SHA_256_PLUS) => (sasl::ChannelBinding::tls_server_end_point(data), sasl::SCRAM_SHA_256_PLUS),
            Some(_) => (sasl::ChannelBinding::unrequested(), sasl::SCRAM_SHA_256),
            None => (sasl::ChannelBinding::unsupported(), sasl::SCRAM_SHA_256),
        };
        let bound = mechanism == sasl::SCRAM_SHA_256_PLUS;
        if !bound && self.ep.channel_binding == ChannelBinding::Require {
            return Err(self.error(Kind::Configuration, "channel binding, which \"channel_binding\" asks for, is not possible"));
        }
        let refused = |e: std::io::Error| {
            self.error(Kind::InsufficientPrivilege, "the server does not prove that it knows the password").caused_by(e)
        };
        let mut scram = sasl::ScramSha256::new(self.password()?, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), link.outbox()).map_err(unwritable)?;
        link.flush().await?;
        let (11, data) = self.request(link).await? else { return Err(malformed("it does not belong into a login")) };
        scram.update(&data).map_err(refused)?;
        frontend::sasl_response(scram.message(), link.outbox()).map_err(unwritable)?;
        link.flush().await?;
        let (12, data) = self.request(link).await? else { return Err(malformed("it does not belong into a login")) };
        scram.finish(&data).map_err(refused)?;
        Ok(bound)
    }

    /// What comes between the login and the first ReadyForQuery.
    async fn greeting(&self, link: &mut Link) -> Result<Greeting> {
        let (mut version, mut process_id, mut secret) = (None, 0, 0);
        loop {
            let (tag, body) = self.message(link).await?;
            let mut fields = Fields::new(&body);
            match tag {
                b'S' if fields.cstr()? == b"server_version" => version = version_number(fields.text()?),
                b'S' => {}
                b'K' => (process_id, secret) = (fields.i32()?, fields.i32()?),
                b'Z' => break,
                _ => return Err(malformed("it does not belong into a login")),
            }
        }
        let version = version.ok_or_else(|| self.error(Kind::Protocol, "the server does not tell its version"))?;
        Ok(Greeting { version, process_id, secret })
    }
}
