//! The Markdown pages: a link leads to a file that is tracked, an anchor to a heading, the book's table of contents has every page,
//! and a conclusion quotes no figure that no study has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::checkout;

/// The folder of the book's pages.
pub(crate) const FOLDER: &str = "docs/";
/// The book's table of contents.
pub(crate) const CONTENTS: &str = "docs/SUMMARY.md";
/// Pages of conclusions.
const CONCLUSIONS: [&str; 2] = ["README.md", "docs/results.md"];
/// Where the figures of conclusions come from: folders, and pages.
const STUDIES: [&str; 3] = ["docs/results/", "docs/benchmarks.md", "docs/calibration.md"];

/// A page of Markdown.
pub(crate) struct Page {
    /// Where links lead, each with its line.
    pub(crate) links: Vec<(usize, String)>,
    /// What a link into the page may name behind `#`.
    anchors: BTreeSet<String>,
    /// Values with their intervals.
    figures: BTreeSet<String>,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Page {
        let (mut links, mut anchors) = (Vec::new(), BTreeSet::new());
        let mut heading: Option<String> = None;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = text[..range.start].matches('\n').count() + 1;
                    links.push((line, dest_url.into_string()));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let wanted = anchor(&heading.take().unwrap_or_default());
                    let numbered = (1..).map(|number| format!("{wanted}-{number}"));
                    let free =
                        std::iter::once(wanted.clone()).chain(numbered).find(|name| !anchors.contains(name));
                    anchors.extend(free);
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                _ => {}
            }
        }
        Page { links, anchors, figures: figures(text) }
    }
}

/// What git hosts and mdBook make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

/// The figures of a text that have an interval, `VALUE (LOW to HIGH)`, without what stands between.
fn figures(text: &str) -> BTreeSet<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(" (") {
        let before = &text[..at];
        let before = before.strip_suffix(" %").or_else(|| before.strip_suffix(" points")).unwrap_or(before);
        let value = before.rsplit(' ').next().unwrap_or_default();
        let inside = text[at + 2..].split([')', ',']).next().unwrap_or_default();
        if let Some((low, high)) = inside.split_once(" to ")
            && [value, low, high].into_iter().all(is_number)
        {
            found.insert(format!("{value} ({low} to {high})"));
        }
    }
    found
}

/// The pages among `files`.
pub(crate) fn read(files: &[String]) -> Result<BTreeMap<String, Page>> {
    let pages = files.iter().filter(|file| file.ends_with(".md"));
    pages
        .filter(|file| checkout::root().join(file).is_file())
        .map(|file| {
            let text = fs::read_to_string(checkout::root().join(file))
                .with_context(|| format!("cannot read '{file}'"))?;
            Ok((file.clone(), Page::parse(&text)))
        })
        .collect()
}

/// All that is wrong with the pages among the tracked `files`.
pub(crate) fn faults(files: &[String]) -> Result<Vec<String>> {
    let pages = read(files)?;
    let there: BTreeSet<&str> =
        files.iter().map(String::as_str).filter(|file| checkout::root().join(file).is_file()).collect();
    let mut wrong = links(&pages, &there);
    wrong.extend(contents(&pages));
    wrong.extend(conclusions(&pages));
    Ok(wrong)
}

/// Where a link of the page `from` leads in the repository, and the anchor there; nothing for a link to elsewhere.
pub(crate) fn target<'a>(from: &str, link: &'a str) -> Option<(String, Option<&'a str>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    if path.is_empty() {
        return Some((from.to_owned(), anchor));
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            // Above the repository there is nothing of that name.
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some((parts.join("/"), anchor))
}

fn links(pages: &BTreeMap<String, Page>, there: &BTreeSet<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, page) in pages {
        for (line, link) in &page.links {
            let Some((path, anchor)) = target(file, link) else { continue };
            if !there.contains(path.as_str()) {
                wrong.push(format!("{file}:{line}: the link '{link}' leads to no file that is tracked"));
            } else if let Some(anchor) = anchor
                && !pages.get(&path).is_some_and(|page| page.anchors.contains(anchor))
            {
                wrong.push(format!("{file}:{line}: '{path}' has no heading '#{anchor}'"));
            }
        }
    }
    wrong
}

fn contents(pages: &BTreeMap<String, Page>) -> Vec<String> {
    let Some(contents) = pages.get(CONTENTS) else { return vec![format!("{CONTENTS} is not there")] };
    let mut wrong = Vec::new();
    let mut listed = BTreeSet::new();
    for (line, link) in &contents.links {
        let page = target(CONTENTS, link).map(|(path, _)| path).unwrap_or_default();
        if !listed.insert(page) {
            wrong.push(format!("{CONTENTS}:{line}: '{link}' stands there twice"));
        }
    }
    for (file, page) in pages.iter().filter(|(file, _)| listed.contains(*file)) {
        for (line, link) in &page.links {
            let outside = target(file, link).map(|(path, _)| path);
            if outside.is_some_and(|path| path.ends_with(".md") && !listed.contains(&path)) {
                wrong.push(format!(
                    "{file}:{line}: '{link}' is no page of the book: {CONTENTS} does not list it"
                ));
            }
        }
    }
    let of_book = pages.keys().filter(|file| file.starts_with(FOLDER) && *file != CONTENTS);
    wrong.extend(
        of_book
            .filter(|file| !listed.contains(*file))
            .map(|file| format!("{file}: {CONTENTS} does not list it")),
    );
    wrong
}

fn conclusions(pages: &BTreeMap<String, Page>) -> Vec<String> {
    let is_study = |file: &str| STUDIES.iter().any(|study| file.starts_with(study));
    let known: BTreeSet<&String> =
        pages.iter().filter(|(file, _)| is_study(file)).flat_map(|(_, page)| &page.figures).collect();
    let of = |file: &'static str| {
        pages
            .get(file)
            .into_iter()
            .flat_map(move |page| page.figures.iter().map(move |figure| (file, figure)))
    };
    CONCLUSIONS
        .into_iter()
        .flat_map(of)
        .filter(|(_, figure)| !known.contains(figure))
        .map(|(file, figure)| format!("{file}: no study has the figure {figure}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(texts: &[(&str, &str)]) -> BTreeMap<String, Page> {
        texts.iter().map(|(file, text)| ((*file).to_owned(), Page::parse(text))).collect()
    }

    #[test]
    fn a_link_leads_to_a_file_and_an_anchor_to_a_heading() {
        let text = "# A `b`: the K, ratios\n\n[here](#a-b-the-k-ratios) [there](../x/b.md#two-1) [out](https://a.b/c)\n";
        let all =
            |first: &str| pages(&[("docs/a.md", first), ("x/b.md", "# One\n# Two\n# Two\n"), ("c.md", "")]);
        let there = BTreeSet::from(["docs/a.md", "x/b.md", "docs/p.png"]);
        let wrong = |text: &str| links(&all(text), &there);
        assert_eq!(wrong(text), Vec::<String>::new());
        assert_eq!(wrong("![](p.png)\n| a |\n| --- |\n| [b](./../x/b.md) |\n"), Vec::<String>::new());
        for broken in
            ["q.png", "../b.md", "../../x/b.md", "../x", "../x/b.md#three", "#none", "p.png#a", "../c.md"]
        {
            assert_eq!(wrong(&format!("\n[x]({broken})\n")).len(), 1, "{broken}");
        }
        let [fault] = &wrong("# A\n\n[x](b.md)\n")[..] else { panic!("one fault") };
        assert!(fault.starts_with("docs/a.md:3: "), "{fault}");
    }

    #[test]
    fn the_table_of_contents_has_every_page_once() {
        let with = |summary: &str| {
            contents(&pages(&[(CONTENTS, summary), ("docs/a.md", ""), ("docs/b/c.md", ""), ("d.md", "")]))
        };
        assert_eq!(with("[a](a.md)\n- [c](b/c.md)\n- [d](../d.md)\n"), Vec::<String>::new());
        assert_eq!(with("- [a](a.md)\n"), ["docs/b/c.md: docs/SUMMARY.md does not list it"]);
        assert_eq!(with("- [a](a.md)\n- [c](b/c.md)\n- [a](a.md)\n").len(), 1);
        assert_eq!(contents(&pages(&[])).len(), 1);
        let outside =
            pages(&[(CONTENTS, "[a](a.md)"), ("docs/a.md", "[d](../d.md) [p](p.png) [a](#a)"), ("d.md", "")]);
        assert_eq!(contents(&outside).len(), 1);
    }

    #[test]
    fn a_conclusion_quotes_a_study() {
        let with = |conclusion: &str| {
            let study = "| 81.10 % (73.54 to\n87.97) | +2.06 points (0.00 to +5.15, p = 0.1) |";
            conclusions(&pages(&[("README.md", conclusion), ("docs/results/a.md", study)])).len()
        };
        assert_eq!(
            with("so 81.10 % (73.54 to 87.97), and +2.06 (0.00 to +5.15); three (one to two) of 5"),
            0
        );
        assert_eq!(with("so 81.11 % (73.54 to 87.97)"), 1);
        assert_eq!(with("so 81.10 % (73.54 to 87.98)"), 1);
    }
}
