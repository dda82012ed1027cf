//! Questions to the table of a gallery.

use std::collections::{BTreeSet, HashMap};

use postgres::types::ToSql;
use postgres::{Client, Row as SqlRow};
use sketchfind_core::distance::Distance;
use sketchfind_core::fingerprint;
use sketchfind_core::unicode::nfc;
use sketchfind_index::Query;

use super::connections::Failure;
use super::rows::{EMBEDDING, PHOTO, embedding, parameter, photo};
use super::schema::operator;
use super::{Table, told};
use crate::gallery::nearest_products;
use crate::home::{Look, Row};
use crate::{Filter, IndexKind, Match, Nothing, Photo, Result, SearchOptions};

/// Rows that are read at once where all of them are.
const PAGE: i64 = 1024;
/// How many more photos than asked for are compared here: pgvector adds up in single precision, and of two that are as near as
/// that tells, the nearer one is to be the first.
const N_MORE: usize = 8;
/// The most candidates that pgvector searches a graph with.
const MOST_CANDIDATES: usize = 1000;

/// Whether PostgreSQL can have such a text: what holds the character zero is nowhere there.
fn is_text(text: &str) -> bool {
    !text.contains('\0')
}

/// Conditions with their parameters.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    parameters: Vec<Box<dyn ToSql + Sync>>,
}

impl Conditions {
    /// What a filter asks for; parameters are numbered after the first `n_before`.
    fn of(filter: &Filter, n_before: usize) -> Conditions {
        let mut conditions = Conditions::default();
        let mut add = |sql: &str, texts: &BTreeSet<String>| {
            let texts = texts.iter().filter(|text| is_text(text)).cloned();
            conditions.parameters.push(Box::new(texts.collect::<Vec<String>>()));
            let number = format!("${}", n_before + conditions.parameters.len());
            conditions.sql.push(sql.replace("$", &number));
        };
        if let Some(ids) = filter.ids() {
            add("normalize(id, NFC) = any($)", ids);
        }
        if !filter.not_ids().is_empty() {
            add("normalize(id, NFC) <> all($)", filter.not_ids());
        }
        if let Some(products) = filter.products() {
            add("product = any($)", products);
        }
        if !filter.not_products().is_empty() {
            add("(product is null or product <> all($))", filter.not_products());
        }
        for labels in filter.any_of() {
            add("labels && $", labels);
        }
        if !filter.all_of().is_empty() {
            add("labels @> $", filter.all_of());
        }
        if !filter.none_of().is_empty() {
            add("not (labels && $)", filter.none_of());
        }
        if !filter.all_of().iter().all(|label| is_text(label)) {
            conditions.sql.push("false".to_owned());
        }
        // The user's own, on lines of its own, so that a remark in it ends with it.
        conditions.sql.extend(filter.conditions().iter().map(|condition| format!("(\n{condition}\n)")));
        conditions
    }

    fn text(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!("where {}", self.sql.join(" and ")) }
    }

    fn parameters(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.parameters.iter().map(AsRef::as_ref)
    }
}

impl Look for Table {
    fn len(&self) -> Result<usize> {
        self.connections.read(|client| {
            let row = client
                .query_one("select n_photos from sketchfind_galleries where name = $1", &[&self.name()])?;
            Ok(usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
        })
    }

    fn width(&self) -> usize {
        self.width
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn rows(&self, ids: &[&str]) -> Result<Vec<Option<Row>>> {
        let sql = format!("select {PHOTO}, embedding from {} where id = any($1)", self.sql_name());
        let asked: Vec<&str> = ids.iter().copied().filter(|id| is_text(id)).collect();
        let found = self.connections.read(|client| {
            let rows = client.query(&sql, &[&asked])?;
            rows.iter().map(|row| told(self.row(row))).collect::<std::result::Result<Vec<Row>, Failure>>()
        })?;
        let mut found: HashMap<String, Row> =
            found.into_iter().map(|row| (row.photo.id().to_owned(), row)).collect();
        Ok(ids.iter().map(|id| found.remove(*id)).collect())
    }

    fn photos(&self, ids: &[&str]) -> Result<Vec<Option<Photo>>> {
        let sql = format!("select {PHOTO} from {} where id = any($1)", self.sql_name());
        let asked: Vec<&str> = ids.iter().copied().filter(|id| is_text(id)).collect();
        let found = self.connections.read(|client| {
            let rows = client.query(&sql, &[&asked])?;
            rows.iter().map(|row| told(photo(row))).collect::<std::result::Result<Vec<Photo>, Failure>>()
        })?;
        let mut found: HashMap<String, Photo> =
            found.into_iter().map(|photo| (photo.id().to_owned(), photo)).collect();
        Ok(ids.iter().map(|id| found.remove(*id)).collect())
    }

    fn of_contents(&self, contents: &[[u8; 32]]) -> Result<HashMap<[u8; 32], Vec<f32>>> {
        let sql = format!(
            "select distinct on (sha256) sha256, embedding from {} where sha256 = any($1)",
            self.sql_name()
        );
        let contents: Vec<String> = contents.iter().map(|content| fingerprint::hex(content)).collect();
        self.connections.read(|client| {
            let rows = client.query(&sql, &[&contents])?;
            let row = |row: &SqlRow| {
                let content = fingerprint::of_hex(row.try_get(0)?);
                Ok(content.map(|content| embedding(row, 1, self.kept).map(|row| (content, row))))
            };
            let found: std::result::Result<Vec<_>, postgres::Error> = rows.iter().map(row).collect();
            Ok(found?.into_iter().flatten().collect::<std::result::Result<_, _>>()?)
        })
    }

    fn ids_in_any_form(&self, names: &[&str]) -> Result<Vec<String>> {
        let forms: Vec<String> =
            names.iter().filter(|name| is_text(name)).map(|name| nfc(name).into_owned()).collect();
        let sql =
            format!("select id from {} where normalize(id, NFC) = any($1) order by id", self.sql_name());
        self.connections.read(|client| {
            let rows = client.query(&sql, &[&forms])?;
            Ok(rows.iter().map(|row| row.try_get(0)).collect::<std::result::Result<_, _>>()?)
        })
    }

    fn each_photo(&self, visit: &mut dyn FnMut(&Photo) -> Result<()>) -> Result<()> {
        self.each(PHOTO, photo, Photo::id, visit)
    }

    fn each_row(&self, visit: &mut dyn FnMut(&Photo, &[f32]) -> Result<()>) -> Result<()> {
        let columns = format!("{PHOTO}, embedding");
        let visit = &mut |row: &Row| visit(&row.photo, &row.embedding);
        self.each(&columns, |row| self.row(row), |row| row.photo.id(), visit)
    }

    fn labels(&self, most: usize) -> Result<Vec<(String, usize)>> {
        let sql = format!(
            "select label collate \"C\", count(*) from {}, unnest(labels) label group by 1 order by 2 desc, 1 limit $1",
            self.sql_name()
        );
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.connections.read(|client| {
            let rows = client.query(&sql, &[&most])?;
            let row =
                |row: &SqlRow| Ok((row.try_get(0)?, usize::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0)));
            Ok(rows.iter().map(row).collect::<std::result::Result<_, postgres::Error>>()?)
        })
    }

    fn search(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        options.check()?;
        let search = |queries: &[Query<'_>], n| self.nearest_photos(queries, n, filter, options);
        if options.by_product {
            nearest_products(queries, k, self.len()?, !filter.is_everything(), search)
        } else {
            search(queries, k)
        }
    }

    fn why_nothing(&self, filter: &Filter) -> Result<Option<Nothing>> {
        let n_photos = self.len()?;
        if n_photos == 0 {
            return Ok(Some(Nothing::EmptyGallery));
        }
        let conditions = Conditions::of(filter, 0);
        let passing = format!("select exists (select 1 from {} {})", self.sql_name(), conditions.text());
        let passes = self.connections.read(|client| {
            let parameters: Vec<&(dyn ToSql + Sync)> = conditions.parameters().collect();
            Ok(client.query_one(&passing, &parameters)?.try_get::<_, bool>(0)?)
        })?;
        if passes {
            return Ok(None);
        }
        let unknown = |texts: &BTreeSet<String>, is_there: &str| -> Result<Vec<String>> {
            let (texts, nowhere): (Vec<String>, Vec<String>) =
                texts.iter().cloned().partition(|text| is_text(text));
            let sql = format!(
                "select t.text from unnest($1::text[]) with ordinality t(text, n) \
                 where not exists (select 1 from {} where {is_there}) order by t.n",
                self.sql_name()
            );
            self.connections.read(|client| {
                let rows = client.query(&sql, &[&texts])?;
                let absent =
                    rows.iter().map(|row| row.try_get(0)).collect::<std::result::Result<Vec<String>, _>>()?;
                Ok(absent.into_iter().chain(nowhere.iter().cloned()).collect())
            })
        };
        const HAS_LABEL: &str = "labels @> array[t.text]";
        let absent = unknown(filter.all_of(), HAS_LABEL)?;
        if !absent.is_empty() {
            return Ok(Some(Nothing::NoSuchLabel(absent)));
        }
        for any in filter.any_of().iter().filter(|any| !any.is_empty()) {
            if unknown(any, HAS_LABEL)?.len() == any.len() {
                return Ok(Some(Nothing::NoSuchLabel(any.iter().cloned().collect())));
            }
        }
        let are_all_absent =
            |texts: Option<&BTreeSet<String>>, is_there: &str| -> Result<Option<Vec<String>>> {
                let Some(texts) = texts.filter(|texts| !texts.is_empty()) else { return Ok(None) };
                let are_absent = unknown(texts, is_there)?.len() == texts.len();
                Ok(are_absent.then(|| texts.iter().cloned().collect()))
            };
        if let Some(products) = are_all_absent(filter.products(), "product = t.text")? {
            return Ok(Some(Nothing::NoSuchProduct(products)));
        }
        if let Some(ids) = are_all_absent(filter.ids(), "normalize(id, NFC) = t.text")? {
            return Ok(Some(Nothing::NoSuchId(ids)));
        }
        Ok(Some(Nothing::Filter { n_photos }))
    }
}

impl Table {
    fn row(&self, row: &SqlRow) -> std::result::Result<Row, postgres::Error> {
        Ok(Row { photo: photo(row)?, embedding: embedding(row, EMBEDDING, self.kept)? })
    }

    /// Shows every row in order of ids, a page at a time: no statement takes long, and nothing holds the table as it was.
    fn each<T>(
        &self,
        columns: &str,
        read: impl Fn(&SqlRow) -> std::result::Result<T, postgres::Error>,
        id: impl Fn(&T) -> &str,
        visit: &mut dyn FnMut(&T) -> Result<()>,
    ) -> Result<()> {
        let sql = format!(
            "select {columns} from {} where $1::text is null or id > $1 order by id limit {PAGE}",
            self.sql_name()
        );
        let mut last: Option<String> = None;
        loop {
            let page = self.connections.read(|client| {
                let rows = client.query(&sql, &[&last])?;
                Ok(rows.iter().map(&read).collect::<std::result::Result<Vec<T>, _>>()?)
            })?;
            page.iter().try_for_each(&mut *visit)?;
            match page.last() {
                Some(row) if page.len() as i64 == PAGE => last = Some(id(row).to_owned()),
                _ => return Ok(()),
            }
        }
    }

    /// The `k` photos nearest to each of `queries`.
    fn nearest_photos(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        if k == 0 {
            self.connections.check_process()?;
            return Ok(vec![Vec::new(); queries.len()]);
        }
        let n = k.saturating_add(N_MORE);
        let described = self.described();
        let ef = options.ef.unwrap_or(described.index.parameters().ef_search).max(n);
        let by_graph =
            described.has_graph && !options.exact && filter.is_everything() && n <= MOST_CANDIDATES;
        let operator = operator(self.distance);
        let order = match (by_graph, self.distance) {
            (true, _) => format!("embedding {operator} $1"),
            // What no graph can order by: every photo that passes is looked at.
            (false, Distance::Mse) => format!("(embedding {operator} $1) + 0, id"),
            // A zero vector is at distance 1 from everything, for which pgvector has no number.
            (false, Distance::Cosine) => {
                format!("coalesce(nullif(embedding {operator} $1, 'NaN'::float8), 1), id")
            }
        };
        let conditions = Conditions::of(filter, 2);
        let sql = format!(
            "select {PHOTO}, embedding from {} {} order by {order} limit $2",
            self.sql_name(),
            conditions.text()
        );
        let limit = i64::try_from(n).unwrap_or(i64::MAX);
        let search = |client: &mut Client| {
            let mut transaction = client.transaction()?;
            if by_graph {
                transaction
                    .batch_execute(&format!("set local hnsw.ef_search = {}", ef.min(MOST_CANDIDATES)))?;
            }
            let statement = transaction.prepare(&sql)?;
            let mut answers = Vec::with_capacity(queries.len());
            for query in queries {
                let asked = parameter(query.values(), self.kept);
                let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![asked.as_ref(), &limit];
                parameters.extend(conditions.parameters());
                let rows = transaction.query(&statement, &parameters)?;
                answers.push(self.ranked(*query, &rows, k)?);
            }
            transaction.commit()?;
            Ok(answers)
        };
        self.connections.read(search)
    }

    /// The first `k` of rows by the model's own distance, as everywhere; equal distances in order of ids.
    fn ranked(
        &self,
        query: Query<'_>,
        rows: &[SqlRow],
        k: usize,
    ) -> std::result::Result<Vec<Match>, postgres::Error> {
        let mut found: Vec<(f64, Photo)> = Vec::with_capacity(rows.len());
        for row in rows {
            let Row { photo, embedding } = self.row(row)?;
            found.push((self.distance.between(query.values(), &embedding), photo));
        }
        let found = found.iter().map(|(distance, photo)| (*distance, photo)).collect();
        Ok(Match::ranked(found, k))
    }

    /// The kind of index that is asked for at the present size.
    pub(super) fn kind(&self) -> Result<IndexKind> {
        let n_numbers = (self.len()? as u64).saturating_mul(self.width as u64);
        Ok(self.described().index.kind(None, n_numbers))
    }

    /// A sample of at most `most` photos, the same each time as long as the photos are.
    pub(super) fn sample(&self, most: usize) -> Result<Vec<Row>> {
        let sql = format!("select {PHOTO}, embedding from {} order by md5(id), id limit $1", self.sql_name());
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.connections.read(|client| {
            let rows = client.query(&sql, &[&most])?;
            Ok(rows.iter().map(|row| self.row(row)).collect::<std::result::Result<_, _>>()?)
        })
    }
}
