//! What the system asks of a server.

/// What is asked.
pub(crate) enum Asked {
    /// To finish what is under way, and end.
    Stop,
    /// To look at the gallery at once. Not every system has a way to say it.
    #[cfg_attr(not(unix), expect(dead_code, reason = "nobody can ask it there"))]
    Look,
}

/// Who is asked.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on to SIGINT, SIGTERM and SIGHUP.
    pub(crate) fn listen() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next that is asked.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Look,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Listens to Ctrl-C.
    pub(crate) fn listen() -> std::io::Result<Signals> {
        Ok(Signals {})
    }

    /// The next that is asked.
    pub(crate) async fn next(&mut self) -> Asked {
        // Where it cannot be listened to, the system ends the process itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Asked::Stop
    }
}
