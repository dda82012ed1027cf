//! A client for HTTP/1.1 that sends exactly what it is told, also what no well-behaved client would.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A connection that is kept open from request to request.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(address: &str) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the system.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request. `headers` are whole lines without their ends.
    ///
    /// # Errors
    /// Those of the system.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
            head += "Host: localhost\r\n";
        }
        for line in headers {
            head += &format!("{line}\r\n");
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        // One write: a server may answer and close before it has read a body that it does not want.
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        let sent = self.send(&bytes);
        self.receive(method == "HEAD").or_else(|error| sent.and(Err(error)))
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// Those of the system, and where it is no HTTP.
    pub fn receive(&mut self, is_head: bool) -> std::io::Result<Answer> {
        let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| broken(&format!("no status line: '{line}'")))?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
                None => break,
            };
        }
        let length = headers.get("content-length").and_then(|value| value.parse::<usize>().ok());
        let mut body = vec![0; if is_head { 0 } else { length.unwrap_or(0) }];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }
}

/// A server of ours as a process; killed when dropped.
pub struct Server {
    child: Child,
    /// Its address, such as `127.0.0.1:41234`.
    pub address: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `command`, which prints its address as the first line, and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not become ready.
    pub fn start(command: &mut Command) -> Server {
        let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => panic!("{command:?}: {error}"),
        };
        let log = Arc::new(Mutex::new(String::new()));
        if let Some(errors) = child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || keep(errors, &log));
        }
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            let _ = BufReader::new(out).read_line(&mut line);
        }
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let mut server = Server { child, address, log };
        let started = Instant::now();
        while !server.try_get("/readyz").is_ok_and(|answer| answer.status == 200) {
            let ended = server.child.try_wait();
            assert!(
                matches!(ended, Ok(None)) && started.elapsed() < Duration::from_secs(60),
                "{command:?} does not become ready: {ended:?}\n{}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn try_get(&self, target: &str) -> std::io::Result<Answer> {
        Connection::open(&self.address)?.ask("GET", target, &[], &[])
    }

    /// A GET on a connection of its own.
    ///
    /// # Panics
    /// Where there is no answer.
    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], &[])
    }

    /// A request on a connection of its own.
    ///
    /// # Panics
    /// Where there is no answer.
    pub fn ask(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Answer {
        let answer = Connection::open(&self.address).and_then(|mut c| c.ask(method, target, headers, body));
        match answer {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {target}: {error}\n{}", self.log()),
        }
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Panics
    /// Where `kill` cannot be run.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Waits until it ends and returns its exit code.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) if started.elapsed() < Duration::from_secs(30) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => panic!("it does not end: {other:?}\n{}", self.log()),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep(errors: ChildStderr, log: &Mutex<String>) {
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        if let Ok(mut log) = log.lock() {
            *log += &line;
            log.push('\n');
        }
    }
}
