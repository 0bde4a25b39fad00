//! The log.

use pgrelay_core::{Error, Result, error::Kind};
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Sends the log to standard error.
///
/// Errors: `InvalidValue` for a filter that cannot be read.
pub fn start(format: LogFormat, filter: &str) -> Result<()> {
    let invalid = |e| Error::new(Kind::InvalidValue, format!("\"{filter}\" is not a log filter")).caused_by(e);
    let filter = EnvFilter::try_new(filter).map_err(invalid)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
