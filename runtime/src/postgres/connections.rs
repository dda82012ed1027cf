//! Connections to a database: taken where they are idle, made where they are not, given back when they are whole.

use std::sync::{Mutex, PoisonError};

use postgres::error::SqlState;
use postgres::{Client, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use crate::process::Process;
use crate::{Error, Result};

/// Idle connections that are kept.
const MOST_IDLE: usize = 8;
/// How long one statement may take, where the server has no limit of its own.
const STATEMENT_TIMEOUT: &str = "60s";

/// Connections of one process to one database.
pub(super) struct Connections {
    address: Address,
    process: Process,
    tls: MakeRustlsConnect,
    idle: Mutex<Vec<Client>>,
}

/// What a piece of work with a connection ends in.
type Worked<T> = std::result::Result<T, Failure>;

/// Why work with a connection failed.
pub(super) enum Failure {
    /// The database said so, or was not there to say anything.
    Database(postgres::Error),
    /// Something of ours.
    Ours(Error),
}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Failure {
        Failure::Database(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Ours(error)
    }
}

impl From<sketchfind_core::Error> for Failure {
    fn from(error: sketchfind_core::Error) -> Failure {
        Failure::Ours(error.into())
    }
}

impl Connections {
    /// No connection yet.
    ///
    /// # Errors
    /// [`Error::Database`] where the certificates to trust cannot be read.
    pub(super) fn new(address: Address) -> Result<Connections> {
        let tls = tls(&address)?;
        Ok(Connections { address, process: Process::current(), tls, idle: Mutex::default() })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Refuses a child that was made by fork, whose connections are its parent's.
    pub(super) fn check_process(&self) -> Result<()> {
        self.process.check(|| format!("the gallery '{}'", self.address.shown.display()))
    }

    /// Reads with a connection. One that was idle may have been lost since, and is then tried again anew.
    pub(super) fn read<T>(&self, work: impl Fn(&mut Client) -> Worked<T>) -> Result<T> {
        self.check_process()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut client) = idle {
            let done = work(&mut client);
            if !client.is_closed() {
                return self.given_back(client, done);
            }
            // What else was idle is lost as well.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let mut client = self.connect()?;
        let done = work(&mut client);
        self.given_back(client, done)
    }

    /// Changes with a connection, once: whether a change that fails has happened is not known before it is asked again.
    pub(super) fn write<T>(&self, work: impl FnOnce(&mut Client) -> Worked<T>) -> Result<T> {
        self.check_process()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Seen before, and not after, the change is tried.
        let live = idle.and_then(|mut client| client.simple_query("").is_ok().then_some(client));
        let mut client = live.map_or_else(|| self.connect(), Ok)?;
        let done = work(&mut client);
        self.given_back(client, done)
    }

    fn given_back<T>(&self, client: Client, done: Worked<T>) -> Result<T> {
        if !client.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MOST_IDLE {
                idle.push(client);
            }
        }
        done.map_err(|failure| self.told(failure))
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Result<Client> {
        let connected = self.address.config.connect(self.tls.clone()).and_then(|mut client| {
            client.batch_execute(&format!(
                "select set_config('statement_timeout', '{STATEMENT_TIMEOUT}', false) \
                 where current_setting('statement_timeout') = '0'"
            ))?;
            Ok(client)
        });
        connected.map_err(|error| self.told(error.into()))
    }

    /// Ends what a connection is doing.
    pub(super) fn cancel(&self, token: &postgres::CancelToken) {
        // Where it does not come through, the work goes on to its end, which is waited for.
        let _ = match self.address.config.get_ssl_mode() {
            postgres::config::SslMode::Disable => token.cancel_query(NoTls),
            _ => token.cancel_query(self.tls.clone()),
        };
    }

    /// A failure in our words.
    pub(super) fn told(&self, failure: Failure) -> Error {
        let error = match failure {
            Failure::Ours(error) => return error,
            Failure::Database(error) => error,
        };
        let place = self.address.shown.clone();
        let Some(said) = error.as_db_error() else {
            let mut reason = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(deeper) = source {
                reason = format!("{reason}: {deeper}");
                source = deeper.source();
            }
            if reason.contains("certificate") {
                reason.push_str(
                    "; sslrootcert=FILE names the certificates to trust, and sslmode=disable asks without encryption",
                );
            }
            return Error::Database { place, reason, is_passing: true };
        };
        let code = said.code();
        let detail = said.detail().map_or_else(String::new, |detail| format!(" ({detail})"));
        let hint = match code {
            code if *code == SqlState::UNDEFINED_TABLE => {
                "; make the gallery first, with `sketchfind index import`"
            }
            code if *code == SqlState::DISK_FULL => "; the database's disk is full, and nothing was changed",
            code if *code == SqlState::QUERY_CANCELED => {
                "; options=-c%20statement_timeout=SECONDSs in its address allows more time"
            }
            code if *code == SqlState::INSUFFICIENT_PRIVILEGE => "; the user needs that right",
            _ => "",
        };
        let is_passing = matches!(code.code().get(..2), Some("08" | "57" | "53" | "40"));
        let reason = format!("{}{detail}{hint} [{}]", said.message(), code.code());
        Error::Database { place, reason, is_passing }
    }
}

impl Drop for Connections {
    /// A connection ends on a thread of its own: where this happens among tasks, nothing may wait for the network. In a child
    /// that was made by fork nothing ends: the connections are its parent's.
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        if idle.is_empty() {
            return;
        }
        if !self.process.is_current() {
            std::mem::forget(idle);
            return;
        }
        let _ = std::thread::spawn(move || drop(idle)).join();
    }
}

/// How a connection is encrypted: with a server that a trusted certificate stands for, or not at all.
fn tls(address: &Address) -> Result<MakeRustlsConnect> {
    let refused =
        |reason: String| Error::Database { place: address.shown.clone(), reason, is_passing: false };
    let mut roots = rustls::RootCertStore::empty();
    match &address.roots {
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                refused(format!("the certificates in '{}' cannot be read: {error}", path.display()))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"it holds none"));
            }
        }
        // A system may have some that are none; what is missing is told when a server shows its own.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
