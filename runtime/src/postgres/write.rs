//! Changes of a gallery's table: each is one transaction, and those of a gallery follow each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, Transaction};
use serde::Serialize;

use super::connections::Failure;
use super::rows::{self, PHOTO, photo};
use super::{Table, schema, told};
use crate::gallery::check_photos;
use crate::home::Look;
use crate::{Cancel, Error, IndexKind, IndexSpec, Photo, Progress, Recall, Result};

/// How often it is asked how far the building of a graph is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

impl Table {
    /// Begins a change: whoever else changes this gallery waits for its end.
    fn begin<'c>(&self, client: &'c mut Client) -> std::result::Result<Transaction<'c>, Failure> {
        let mut transaction = client.transaction()?;
        transaction
            .execute("select pg_advisory_xact_lock(hashtext('sketchfind'), hashtext($1))", &[&self.name()])?;
        Ok(transaction)
    }

    /// Ends a change that has made the gallery larger by `n`.
    fn end(&self, mut transaction: Transaction<'_>, n: i64) -> std::result::Result<(), Failure> {
        transaction.execute(
            "update sketchfind_galleries set n_photos = n_photos + $2 where name = $1",
            &[&self.name(), &n],
        )?;
        Ok(transaction.commit()?)
    }

    /// Checks photos as every gallery does, and as a table has to.
    fn check(&self, photos: &[Photo], values: &[f32]) -> Result<()> {
        check_photos(photos, values, self.width)?;
        rows::check(photos, values, self.width, self.kept)
    }

    pub(super) fn add(&self, photos: &[Photo], values: &[f32]) -> Result<()> {
        self.check(photos, values)?;
        if photos.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = photos.iter().map(Photo::id).collect();
        self.connections.write(|client| {
            let mut transaction = self.begin(client)?;
            let sql = format!("select id from {} where id = any($1) limit 1", self.sql_name());
            if let Some(there) = transaction.query_opt(&sql, &[&ids])? {
                return Err(Error::PhotoExists { id: there.try_get(0)? }.into());
            }
            self.copy_in(&mut transaction, photos, values)?;
            self.end(transaction, count(photos.len()))
        })
    }

    pub(super) fn replace(&self, photos: Vec<Photo>, values: &[f32]) -> Result<()> {
        self.check(&photos, values)?;
        if photos.is_empty() {
            return Ok(());
        }
        self.connections.write(|client| {
            let mut transaction = self.begin(client)?;
            let ids: Vec<&str> = photos.iter().map(Photo::id).collect();
            let sql = format!("select {PHOTO} from {} where id = any($1)", self.sql_name());
            let there = transaction.query(&sql, &[&ids])?;
            let there: BTreeMap<String, Photo> = there
                .iter()
                .map(|row| told(photo(row)).map(|photo| (photo.id().to_owned(), photo)))
                .collect::<std::result::Result<_, Failure>>()?;
            if !there.is_empty() {
                let gone: Vec<&str> = there.keys().map(String::as_str).collect();
                let sql = format!("delete from {} where id = any($1)", self.sql_name());
                transaction.execute(&sql, &[&gone])?;
            }
            let n = count(photos.len()) - count(there.len());
            let kept = |photo: &Photo| match there.get(photo.id()) {
                Some(before) => photo.clone().in_place_of(before),
                None => photo.clone(),
            };
            let photos: Vec<Photo> = photos.iter().map(kept).collect();
            self.copy_in(&mut transaction, &photos, values)?;
            self.end(transaction, n)
        })
    }

    pub(super) fn remove(&self, ids: &[&str]) -> Result<usize> {
        // What holds a character that no text there has is not there.
        let ids: BTreeSet<&str> = ids.iter().copied().filter(|id| !id.contains('\0')).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(0);
        }
        self.connections.write(|client| {
            let mut transaction = self.begin(client)?;
            let sql = format!("delete from {} where id = any($1)", self.sql_name());
            let n = transaction.execute(&sql, &[&ids])?;
            self.end(transaction, -i64::try_from(n).unwrap_or(i64::MAX))?;
            Ok(usize::try_from(n).unwrap_or(usize::MAX))
        })
    }

    fn copy_in(
        &self,
        transaction: &mut Transaction<'_>,
        photos: &[Photo],
        values: &[f32],
    ) -> std::result::Result<(), Failure> {
        let copied = rows::copy_in(transaction, &self.sql_name(), photos, values, self.width, self.kept);
        copied.map_err(|failure| match failure {
            // Somebody wrote past us.
            Failure::Database(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                let detail = error.as_db_error().and_then(|said| said.detail()).unwrap_or_default();
                let id = detail.split_once("=(").and_then(|(_, rest)| rest.split_once(") already"));
                Failure::Ours(Error::PhotoExists { id: id.map_or("?", |(id, _)| id).to_owned() })
            }
            other => other,
        })
    }

    pub(super) fn set_index(&self, index: IndexSpec) -> Result<()> {
        self.write_down("index = $2, recall = null", &index)
    }

    pub(super) fn set_recall(&self, recall: Recall) -> Result<()> {
        self.write_down("recall = $2", &recall)
    }

    /// Writes `value`, as JSON, into what the database says of the gallery.
    fn write_down(&self, columns: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|error| {
            let path = self.connections.address().shown.clone();
            Error::Gallery { path, reason: error.to_string() }
        })?;
        let sql = format!("update sketchfind_galleries set {columns} where name = $1");
        self.connections.write(|client| Ok(client.execute(&sql, &[&self.name(), &text])?)).map(drop)
    }

    /// Gives back the space of removed photos, and counts those that are there: others may have changed the table in SQL.
    pub(super) fn vacuum(&self) -> Result<()> {
        // A connection of its own, which may take its time.
        let mut client = self.connections.connect()?;
        let mut work = || -> std::result::Result<(), Failure> {
            client.batch_execute("set statement_timeout = 0")?;
            client.batch_execute(&format!("vacuum (analyze) {}", self.sql_name()))?;
            let mut transaction = self.begin(&mut client)?;
            let count = format!(
                "update sketchfind_galleries set n_photos = (select count(*) from {}) where name = $1",
                self.sql_name()
            );
            transaction.execute(&count, &[&self.name()])?;
            Ok(transaction.commit()?)
        };
        work().map_err(|failure| self.connections.told(failure))
    }

    /// Builds the graph that the gallery asks for, or removes one that it does not; the number of photos in a new one.
    pub(super) fn build_index(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<usize> {
        let described = self.described();
        // Each of the other servers builds the graph of its own table.
        if described.is_spread {
            return Ok(0);
        }
        let is_wanted = self.kind()? == IndexKind::Hnsw;
        if is_wanted == described.has_graph {
            return Ok(0);
        }
        if !is_wanted {
            let sql = format!("drop index if exists \"{}\"", schema::graph(self.name()));
            self.connections.write(|client| Ok(client.batch_execute(&sql)?))?;
            return Ok(0);
        }
        let sql = schema::create_graph(self.name(), &described.space, described.index.parameters());
        let mut client = self.connections.connect()?;
        let token = client.cancel_token();
        let built = std::thread::scope(|scope| {
            let building =
                scope.spawn(move || client.batch_execute(&format!("set statement_timeout = 0; {sql}")));
            while !building.is_finished() {
                std::thread::sleep(BETWEEN_LOOKS);
                if cancel.is_cancelled() {
                    self.connections.cancel(&token);
                } else if let Ok(n) = self.n_built() {
                    progress.tell(n);
                }
            }
            building.join().unwrap_or(Ok(()))
        });
        match built {
            Err(_) if cancel.is_cancelled() => Err(Error::Cancelled),
            Err(error) => Err(self.connections.told(error.into())),
            Ok(()) => self.len(),
        }
    }

    /// How many photos are in the graph that is being built.
    fn n_built(&self) -> Result<usize> {
        self.connections.read(|client| {
            let sql = "select tuples_done from pg_stat_progress_create_index where relid = to_regclass($1)";
            let row = client.query_opt(sql, &[&self.sql_name()])?;
            let n = row.map(|row| row.try_get::<_, i64>(0)).transpose()?;
            Ok(n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0))
        })
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
