//! Where a database is, and who asks: the address of a gallery, the usual variables of PostgreSQL, and its file of passwords.

use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use postgres::Config;
use postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::home::shown;
use crate::{Error, Result};

/// How long a server has to take a connection, where nobody says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After this time without an answer to what was sent a connection is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest name of a gallery: PostgreSQL keeps 63 bytes, and names of indexes are longer.
const LONGEST_NAME: usize = 48;

/// A gallery in a database.
pub(super) struct Address {
    /// How to connect, with the password.
    pub(super) config: Config,
    /// A file with the certificates that are trusted; the system's where nothing is said.
    pub(super) roots: Option<PathBuf>,
    /// The gallery's name, which is its table's too.
    pub(super) gallery: String,
    /// The address without a password.
    pub(super) shown: PathBuf,
}

/// What a variable of the environment says, if it says anything.
type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

impl Address {
    /// The address `postgres://USER@HOST:PORT/DATABASE?gallery=NAME`. What it does not say, the variables PGHOST, PGPORT, PGUSER,
    /// PGPASSWORD, PGPASSFILE, PGDATABASE, PGOPTIONS, PGAPPNAME, PGCONNECT_TIMEOUT, PGSSLMODE, PGSSLROOTCERT and
    /// PGTARGETSESSIONATTRS say, and the file of passwords, as with PostgreSQL's own programs; but a host that it names without a
    /// port is at 5432.
    ///
    /// # Errors
    /// [`Error::Gallery`] with what is wrong.
    pub(super) fn parse(place: &Path) -> Result<Address> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Address::with(place, &variable)
    }

    fn with(place: &Path, variable: Variable<'_>) -> Result<Address> {
        let address = PathBuf::from(shown(place));
        let refused = |reason: String| Error::Gallery { path: address.clone(), reason };
        let text = place.to_str().ok_or_else(|| refused("its address is not UTF-8".to_owned()))?;
        let (base, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut gallery, mut ssl_mode, mut roots, mut others) = (None, None, None, Vec::new());
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let decoded = percent_decode_str(value).decode_utf8();
            let decoded =
                decoded.map_err(|_not_utf8| refused(format!("the value of '{name}' is not UTF-8")))?;
            match name {
                "gallery" => gallery = Some(decoded.into_owned()),
                "sslmode" => ssl_mode = Some(decoded.into_owned()),
                "sslrootcert" => roots = Some(decoded.into_owned()),
                _ => others.push(parameter),
            }
        }
        let gallery =
            gallery.ok_or_else(|| refused("it names no gallery, expected ?gallery=NAME".to_owned()))?;
        check_name(&gallery).map_err(refused)?;
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let mut config: Config = rest.parse().map_err(|error: postgres::Error| {
            // It says which part, and never the password.
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            refused(format!("its address cannot be read: {why}"))
        })?;
        fill(&mut config, variable).map_err(refused)?;
        let ssl_mode = ssl_mode.or_else(|| variable("PGSSLMODE"));
        config.ssl_mode(match ssl_mode.as_deref() {
            None | Some("prefer" | "allow") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some(other) => {
                let expected = "disable, prefer, require or verify-full";
                return Err(refused(format!("its sslmode is '{other}', expected {expected}")));
            }
        });
        let roots = roots.or_else(|| variable("PGSSLROOTCERT")).filter(|roots| roots != "system");
        if config.get_password().is_none()
            && let Some(password) = password_of_file(&config, variable)
        {
            config.password(password);
        }
        Ok(Address { config, roots: roots.map(PathBuf::from), gallery, shown: address })
    }

    /// The table, as SQL writes it.
    pub(super) fn table(&self) -> String {
        format!("\"{}\"", self.gallery)
    }
}

/// Refuses what is no name of a gallery: it becomes the name of a table that people write in SQL.
fn check_name(name: &str) -> std::result::Result<(), String> {
    let is_start = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_word = name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit());
    let is_ours = name.starts_with("sketchfind_") || name.starts_with("pg_");
    if is_word && !is_ours && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(format!(
        "the gallery's name is '{name}', expected 1 to {LONGEST_NAME} of the characters a to z, 0 to 9 and _, not a digit first, \
         and neither sketchfind_ nor pg_ before it"
    ))
}

/// Fills in what an address does not say.
fn fill(config: &mut Config, variable: Variable<'_>) -> std::result::Result<(), String> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let hosts = variable("PGHOST").unwrap_or_else(|| usual_host().to_owned());
        for host in hosts.split(',') {
            config.host(host);
        }
    }
    if config.get_ports().is_empty()
        && let Some(ports) = variable("PGPORT")
    {
        for port in ports.split(',') {
            config.port(port.parse().map_err(|_malformed| format!("PGPORT is '{ports}', expected a port"))?);
        }
    }
    if config.get_user().is_none()
        && let Some(user) = variable("PGUSER")
    {
        config.user(&user);
    }
    if config.get_dbname().is_none()
        && let Some(database) = variable("PGDATABASE")
    {
        config.dbname(&database);
    }
    if config.get_password().is_none()
        && let Some(password) = variable("PGPASSWORD")
    {
        config.password(password);
    }
    if config.get_options().is_none()
        && let Some(options) = variable("PGOPTIONS")
    {
        config.options(&options);
    }
    if config.get_application_name().is_none() {
        config.application_name(variable("PGAPPNAME").as_deref().unwrap_or("sketchfind"));
    }
    if config.get_connect_timeout().is_none() {
        let seconds = variable("PGCONNECT_TIMEOUT").map(|seconds| {
            seconds
                .parse()
                .map_err(|_malformed| format!("PGCONNECT_TIMEOUT is '{seconds}', expected seconds"))
        });
        config.connect_timeout(seconds.transpose()?.map_or(CONNECT_TIMEOUT, Duration::from_secs));
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    config.keepalives_idle(SILENCE);
    match variable("PGTARGETSESSIONATTRS").as_deref() {
        Some("read-write") => {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Some("read-only") => {
            config.target_session_attrs(TargetSessionAttrs::ReadOnly);
        }
        Some("any") | None => {}
        Some(other) => {
            let expected = "any, read-write or read-only";
            return Err(format!("PGTARGETSESSIONATTRS is '{other}', expected {expected}"));
        }
    }
    Ok(())
}

/// Where PostgreSQL's own programs look for a server: at its socket, where there is one.
fn usual_host() -> &'static str {
    const SOCKETS: &str = "/var/run/postgresql";
    if cfg!(unix) && Path::new(SOCKETS).is_dir() { SOCKETS } else { "localhost" }
}

/// The password that the file of passwords has: lines of `host:port:database:user:password`, where `*` is anything and a
/// backslash takes the next character as it is. A file that others may read is not trusted, as with PostgreSQL's own programs.
fn password_of_file(config: &Config, variable: Variable<'_>) -> Option<String> {
    let path = match variable("PGPASSFILE") {
        Some(path) => PathBuf::from(path),
        None => Path::new(&variable(if cfg!(windows) { "APPDATA" } else { "HOME" })?)
            .join(if cfg!(windows) { "postgresql/pgpass.conf" } else { ".pgpass" }),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).ok()?.permissions().mode();
        if mode & 0o077 != 0 {
            return None;
        }
    }
    let text = std::fs::read_to_string(&path).ok()?;
    let user = config.get_user().map(str::to_owned).or_else(|| variable("USER")).unwrap_or_default();
    let database = config.get_dbname().unwrap_or(&user).to_owned();
    let hosts: Vec<String> = config.get_hosts().iter().map(host_name).collect();
    let port = |place: usize| match config.get_ports() {
        [] => 5432,
        [one] => *one,
        many => many.get(place).copied().unwrap_or(5432),
    };
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let [of_host, of_port, of_database, of_user, password] = fields(line)?;
        let is = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        let is_host = hosts
            .iter()
            .enumerate()
            .any(|(place, host)| is(&of_host, host) && is(&of_port, &port(place).to_string()));
        (is_host && is(&of_database, &database) && is(&of_user, &user)).then_some(password)
    })
}

/// A host as the file of passwords calls it: one at a socket is `localhost`.
fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(_) => "localhost".to_owned(),
    }
}

/// The five fields of a line.
fn fields(line: &str) -> Option<[String; 5]> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => fields.last_mut()?.extend(characters.next()),
            ':' => fields.push(String::new()),
            other => fields.last_mut()?.push(other),
        }
    }
    fields.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<Address> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Address::with(Path::new(text), &|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn what_an_address_does_not_say_the_variables_say() {
        let said = [
            ("PGHOST", "db.example"),
            ("PGPORT", "6000"),
            ("PGUSER", "u"),
            ("PGPASSWORD", "secret"),
            ("PGDATABASE", "d"),
            ("PGCONNECT_TIMEOUT", "2"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/etc/root.pem"),
        ];
        let found = parsed("postgres://?gallery=shop", &said).unwrap();
        assert_eq!(found.config.get_hosts(), [Host::Tcp("db.example".into())]);
        assert_eq!((found.config.get_ports(), found.config.get_user()), (&[6000][..], Some("u")));
        assert_eq!(found.config.get_password(), Some(&b"secret"[..]));
        assert_eq!((found.config.get_dbname(), found.config.get_ssl_mode()), (Some("d"), SslMode::Require));
        assert_eq!(found.config.get_connect_timeout(), Some(&Duration::from_secs(2)));
        assert_eq!((found.roots, found.gallery), (Some("/etc/root.pem".into()), "shop".into()));
        // The address comes first.
        let found = parsed("postgres://v:w@h:1/e?gallery=shop&sslmode=disable", &said).unwrap();
        assert_eq!((found.config.get_ports(), found.config.get_user()), (&[1][..], Some("v")));
        assert_eq!((found.config.get_dbname(), found.config.get_ssl_mode()), (Some("e"), SslMode::Disable));
        assert_eq!(found.shown, Path::new("postgres://v@h:1/e?gallery=shop&sslmode=disable"));
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_is_told() {
        let cases = [
            ("postgres://u:secret@h/d", "expected ?gallery=NAME"),
            ("postgres://u:secret@h/d?gallery=Shop", "'Shop', expected 1 to 48"),
            ("postgres://u:secret@h/d?gallery=pg_x", "pg_ before it"),
            ("postgres://u:secret@h/d?gallery=a%22b", "expected 1 to 48"),
            ("postgres://u:secret@h:port/d?gallery=a", "port"),
            ("postgres://u:secret@h/d?gallery=a&nonsense=1", "nonsense"),
            ("postgres://u:secret@h/d?gallery=a&sslmode=maybe", "'maybe', expected disable"),
        ];
        for (address, reason) in cases {
            let said = parsed(address, &[]).map(|found| found.gallery).unwrap_err().to_string();
            assert!(said.contains(reason) && !said.contains("secret"), "{said}");
        }
        let said = parsed("postgres://?gallery=a", &[("PGPORT", "x")]).map(|found| found.gallery);
        assert!(said.unwrap_err().to_string().contains("PGPORT is 'x'"));
    }

    #[cfg(unix)]
    #[test]
    fn a_password_comes_from_its_file_where_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        let text = "# a remark\nother:*:*:*:wrong\nh:7:*:u\\:v:right\\\\\n*:*:*:*:any\n";
        std::fs::write(&path, text).unwrap();
        let password = |address: &str| {
            let found = parsed(address, &[("PGPASSFILE", path.to_str().unwrap())]).unwrap();
            found.config.get_password().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        let set_mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o600);
        assert_eq!(password("postgres://u%3Av@h:7/d?gallery=a").as_deref(), Some("right\\"));
        assert_eq!(password("postgres://u@h:8/d?gallery=a").as_deref(), Some("any"));
        assert_eq!(password("postgres://u:own@h:8/d?gallery=a").as_deref(), Some("own"));
        set_mode(0o644);
        assert_eq!(password("postgres://u@h:8/d?gallery=a"), None);
    }
}
