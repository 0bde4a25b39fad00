//! A TCP or Unix socket, with or without TLS.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use pgrelay_core::error::{Error, Kind, Result};
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pg::attempt::Encryption;
use crate::pg::endpoint::{Address, Endpoint, Target};
use crate::pg::tls;

pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Connects and, as `encryption` says, makes the TLS handshake. `doing` is for messages.
    pub(super) async fn open(ep: &Endpoint, target: &Target, encryption: Encryption, doing: &str) -> Result<Transport> {
        let failed = |e: io::Error| Error::new(Kind::Connection, format!("{doing}: {e}")).caused_by(e);
        let (host, mut stream) = match &target.address {
            Address::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", target.port));
                return UnixStream::connect(path).await.map(Transport::Unix).map_err(failed);
            }
            Address::Tcp { host, addr } => {
                let stream = match addr {
                    Some(addr) => TcpStream::connect((*addr, target.port)).await,
                    None => connect_by_name(host, target.port).await,
                };
                (host, stream.map_err(failed)?)
            }
        };
        set_options(&stream, ep).map_err(failed)?;
        if encryption == Encryption::Plain {
            return Ok(Transport::Tcp(stream));
        }
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await.map_err(failed)?;
        // Exactly one byte is read: what follows belongs to the handshake, so nothing can be slipped in before it.
        match stream.read_u8().await.map_err(failed)? {
            b'S' => {}
            b'N' if encryption == Encryption::Offered => return Ok(Transport::Tcp(stream)),
            b'N' => {
                return Err(Error::new(Kind::Configuration, format!("{doing}: the server has no TLS, which \"sslmode\" asks for")));
            }
            _ => return Err(Error::new(Kind::Protocol, format!("{doing}: the server does not answer as PostgreSQL does"))),
        }
        let name = ServerName::try_from(host.clone())
            .map_err(|e| Error::new(Kind::Configuration, format!("{doing}: the name cannot stand in a certificate")).caused_by(e))?;
        let connector = TlsConnector::from(Arc::new(tls::config(&ep.tls)?));
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
            Err(e) => Err(match tls::tls_cause(&e) {
                Some(cause) => tls::tls_error(cause, doing),
                None => failed(e),
            }),
        }
    }

    /// Whether nobody between the two can read along.
    pub(super) fn is_private(&self) -> bool {
        !matches!(self, Transport::Tcp(_))
    }

    /// Ends both directions at once, without farewell.
    pub(super) fn close(&self) {
        let ended = match self {
            Transport::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Both),
            Transport::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Both),
            Transport::Tls(stream) => SockRef::from(stream.get_ref().0).shutdown(Shutdown::Both),
        };
        // Closed already, then.
        drop(ended);
    }

    /// Data of channel binding, when this is TLS.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        match self {
            Transport::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().and_then(tls::end_point),
            _ => None,
        }
    }
}

async fn connect_by_name(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in lookup_host((host, port)).await? {
        match TcpStream::connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn set_options(stream: &TcpStream, ep: &Endpoint) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(keepalive) = ep.keepalive {
        let socket = SockRef::from(stream);
        let settings = TcpKeepalive::new().with_time(keepalive.idle).with_interval(keepalive.interval).with_retries(keepalive.count);
        socket.set_tcp_keepalive(&settings)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(keepalive.user_timeout)?;
    }
    Ok(())
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
