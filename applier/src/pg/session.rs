//! Ordinary sessions (lands shortly).
use super::endpoint::Endpoint;
use pgrelay_core::error::{Error, Kind, Result};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Notification};

/// Opens a session with the pinned settings; `settings` are set besides.
pub async fn connect(_ep: &Endpoint, _application_name: &str, _settings: &[(&str, &str)]) -> Result<Client> {
    Err(Error::new(Kind::NotSupported, "not landed yet"))
}

/// Like [`connect`], with what arrives by LISTEN.
pub async fn connect_listening(
    _ep: &Endpoint,
    _application_name: &str,
    _settings: &[(&str, &str)],
) -> Result<(Client, mpsc::UnboundedReceiver<Notification>)> {
    Err(Error::new(Kind::NotSupported, "not landed yet"))
}
