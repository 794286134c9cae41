//! `auditctl reconcile`: whether what a SIEM gives back is what the ledger sent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use sallyport_audit::filter::Filter;
use sallyport_audit::index::search::{Order, search};
use sallyport_audit::index::{Directories, Query};
use sallyport_audit::journal::scan::ScanEnd;
use sallyport_audit::note::PublicKey;
use sallyport_audit::reconcile::{Item, Population, Reconciled, Reconciler};
use sallyport_audit::selection::Selection;
use sallyport_audit::{Record, Seq, export};
use serde_json::{Map, Value};

use crate::Failure;
use crate::log::{finish, search_failure};
use crate::output::{count, grouped, ledger, plain};

/// The largest JSON document that is read whole, in bytes. NDJSON, CSV and lines are read row by row, without a bound.
const MOST_JSON: u64 = 1 << 30;
/// The longest row, in bytes.
const MOST_ROW: usize = 4 << 20;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory, or a file that `export` wrote.
    ledger: PathBuf,
    /// What the SIEM gave back; `-` is standard input. Several files are read one after the other.
    #[arg(required = true, value_name = "FILE")]
    copies: Vec<PathBuf>,
    /// How the files are written; if it isn't given, the name and the first byte tell.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only rows that this sink sent.
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// The sink's filter, if it is not what the ledger says it had (several, each from its record on).
    #[arg(long, value_name = "WORDS", value_parser = filter)]
    filter: Option<Filter>,
    /// The number of the first record that must be there.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
    /// The number of the last record that must be there. Without it: as far as the sink's last receipt, and what arrived, reach.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// The order of the rows says nothing: the SIEM sorts by a time of its own.
    #[arg(long)]
    any_order: bool,
    /// A record of which only number and hash came back is there, although nothing shows its text.
    #[arg(long)]
    accept_claims: bool,
    /// The ledger's public key, to check an export with (needed for one).
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One document: a list of rows, or an answer of Elasticsearch.
    Json,
    /// One object after the other.
    Ndjson,
    /// With a line of names first.
    Csv,
    /// One message a line: syslog, CEF or LEEF as a receiver wrote it.
    Lines,
}

fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| error.to_string())
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (population, mut end) = population(arguments)?;
    let mut reconciler = Reconciler::new(population, arguments.sink.as_deref());
    for path in &arguments.copies {
        rows(path, arguments.format, &mut |row| reconciler.row(Item::read(&row).as_ref()))?;
    }
    // A gateway that runs adds records meanwhile. An export stays what it is.
    if let (Some((first, last)), Some(end)) = (reconciler.ahead(), &mut end) {
        reconciler.read_on(|population| {
            *end = read(&arguments.ledger, (first, Some(last)), population)?;
            Ok::<(), Failure>(())
        })?;
    }
    if arguments.sink.is_none() && reconciler.sinks().len() > 1 {
        let sinks: Vec<String> = reconciler.sinks().iter().map(|sink| plain(sink)).collect();
        return Err(Failure::usage(
            format!("the rows are of several sinks: {}", sinks.join(", ")),
            "say which one is meant with --sink; each has its own filter and its own numbers",
        ));
    }
    let upto = arguments.to.map(|last| last.saturating_add(1));
    let mut answer = reconciler.finish(arguments.from, upto, arguments.filter.as_ref());
    for (is_asked, word) in [(arguments.any_order, "reordered"), (arguments.accept_claims, "unproved")] {
        if is_asked {
            disregard(&mut answer, word);
        }
    }
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        serde_json::to_writer(&mut out, &answer).map_err(io::Error::other).and_then(|()| writeln!(out))
    } else {
        print(&mut out, &answer)
    };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    if let Some(end) = end {
        finish(&arguments.ledger, &end)?;
    }
    if answer.rows == answer.unreadable {
        return Err(Failure::not_evaluated(
            "nothing in the given files is a record of a ledger",
            "give what the SIEM exports with the record in it (`_raw`, `_source`, `raw_data`, `event.original`), and --format \
             if it is not seen from the name",
        ));
    }
    if answer.verdict == ["unproved"] {
        return Err(Failure::not_evaluated(
            format!(
                "of {} only number and hash came back, and the ledger doesn't say that they were too large to be sent",
                count(answer.claimed - answer.pointers, "record", "records")
            ),
            "see what became of their text in the SIEM, or export the field that holds it; if it is never kept there, \
             --accept-claims takes number and hash for the record",
        ));
    }
    Ok(if answer.contiguous { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn disregard(answer: &mut Reconciled, word: &str) {
    answer.verdict.retain(|found| *found != word);
    if answer.verdict.is_empty() {
        answer.contiguous = true;
        answer.verdict.push("contiguous");
    }
}

/// The ledger's side, and how the reading of a directory ended.
fn population(arguments: &Arguments) -> Result<(Population, Option<ScanEnd>), Failure> {
    if arguments.ledger.is_file() {
        return exported(&arguments.ledger, &arguments.key).map(|population| (population, None));
    }
    let mut population = Population::default();
    let end = read(&arguments.ledger, (0, None), &mut population)?;
    Ok((population, Some(end)))
}

/// Adds these records of a ledger's directory, up to its end if there is no last one, and says how the reading ended.
fn read(
    directory: &Path,
    (first, last): (u64, Option<u64>),
    population: &mut Population,
) -> Result<ScanEnd, Failure> {
    let files = ledger(directory)?;
    let range = Selection { from: Seq::new(first), to: last.map(Seq::new), ..Selection::default() };
    let (none, query) = (Directories::none(), Query::new(range));
    let searched = search(&files, &none, &query, Order::OldestFirst, None, &mut |hit| {
        let origin = hit.record.details.get("origin").and_then(Value::as_str);
        if let Some(origin) = origin.filter(|_| hit.record.seq.get() == 0) {
            *population = Population::new(origin);
        }
        population.add(hit.record, hit.bytes);
        ControlFlow::Continue(())
    });
    let searched = searched.map_err(|error| search_failure(&files, &error))?;
    Ok(searched.end.unwrap_or(ScanEnd::Complete))
}

fn exported(path: &Path, keys: &[String]) -> Result<Population, Failure> {
    let keys = keys.iter().map(|key| PublicKey::parse(key)).collect::<Result<Vec<_>, _>>();
    let keys = keys.map_err(|error| {
        Failure::usage(format!("--key: {error}"), "give it as `auditctl verify` takes it")
    })?;
    if keys.is_empty() {
        return Err(Failure::usage(
            "an export is compared only after it was checked",
            "give the ledger's key with --key",
        ));
    }
    let unreadable = |error: io::Error| Failure::unreadable_file(path, &error);
    let open = || File::open(path).map(BufReader::new);
    let checked = export::check(open().map_err(unreadable)?, &keys).map_err(|error| {
        Failure::broken(format!("{}: {error}", path.display()), "run `auditctl verify-export` on it")
    })?;
    // Without a filter, only what was pruned is left out: `check` has seen the record that declares it.
    if checked.left_out > 0 && !checked.selection.is_range() {
        return Err(Failure::usage(
            "the export leaves records out, so that it can't be said what is missing",
            "export without a filter: `auditctl export LEDGER`",
        ));
    }
    let mut population = Population::new(&checked.origin);
    for line in open().map_err(unreadable)?.lines() {
        let line = line.map_err(unreadable)?;
        if let Ok(record) = Record::parse(line.as_bytes()) {
            population.add(&record, line.as_bytes());
        }
    }
    Ok(population)
}

/// Gives every row of a file.
fn rows(path: &Path, format: Option<Format>, take: &mut dyn FnMut(Value)) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::unreadable_file(path, &error);
    let mut input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    let first = loop {
        let next = input.fill_buf().map_err(unreadable)?;
        match next.first() {
            Some(byte) if byte.is_ascii_whitespace() => input.consume(1),
            // A byte order mark.
            Some(0xef) if next.starts_with("\u{feff}".as_bytes()) => input.consume(3),
            other => break other.copied(),
        }
    };
    let format = format.unwrap_or_else(|| guess(path, first));
    let faulty = |what: String| {
        Failure::not_evaluated(
            format!("{}: {what}", path.display()),
            "export it again, or say with --format how it is written",
        )
    };
    match format {
        Format::Json => {
            let mut text = Vec::new();
            input.take(MOST_JSON + 1).read_to_end(&mut text).map_err(unreadable)?;
            if text.len() as u64 > MOST_JSON {
                return Err(faulty("a JSON document of more than 1 GiB; export NDJSON".to_owned()));
            }
            let document = serde_json::from_slice(&text).map_err(|error| faulty(error.to_string()))?;
            listed(document).into_iter().for_each(take);
        }
        Format::Ndjson => {
            for row in serde_json::Deserializer::from_reader(input).into_iter::<Value>() {
                match row {
                    Ok(row) => listed(row).into_iter().for_each(&mut *take),
                    Err(error) => return Err(faulty(error.to_string())),
                }
            }
        }
        Format::Csv => {
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
            let names = reader.headers().map_err(|error| faulty(error.to_string()))?.clone();
            for record in reader.records() {
                let record = record.map_err(|error| faulty(error.to_string()))?;
                let cells = names.iter().zip(record.iter());
                let row: Map<String, Value> =
                    cells.map(|(name, cell)| (name.to_owned(), cell.into())).collect();
                take(Value::Object(row));
            }
        }
        Format::Lines => {
            let mut line = Vec::new();
            loop {
                line.clear();
                let read =
                    (&mut input).take(MOST_ROW as u64).read_until(b'\n', &mut line).map_err(unreadable)?;
                if read == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&line);
                if !text.trim().is_empty() {
                    take(Value::String(text.trim_end_matches(['\n', '\r']).to_owned()));
                }
            }
        }
    }
    Ok(())
}

fn guess(path: &Path, first: Option<u8>) -> Format {
    match (path.extension().and_then(|extension| extension.to_str()), first) {
        (Some("csv"), _) => Format::Csv,
        (_, Some(b'[')) => Format::Json,
        (_, Some(b'{')) => Format::Ndjson,
        _ => Format::Lines,
    }
}

/// A document's rows: a list, or an object that wraps one.
fn listed(document: Value) -> Vec<Value> {
    match document {
        Value::Array(rows) => rows,
        Value::Object(mut object) => {
            if let Some(hits) = object.get_mut("hits").and_then(|hits| hits.get_mut("hits")) {
                return listed(hits.take());
            }
            for name in ["results", "rows", "value", "data", "events", "items"] {
                if let Some(Value::Array(_)) = object.get(name) {
                    return object.remove(name).map(listed).unwrap_or_default();
                }
            }
            vec![Value::Object(object)]
        }
        other => vec![other],
    }
}

fn print(out: &mut impl Write, answer: &Reconciled) -> io::Result<()> {
    let records = |number| count(number, "record", "records");
    let sink = answer
        .sink
        .as_deref()
        .map_or_else(|| "an unnamed sink".to_owned(), |sink| format!("sink {}", plain(sink)));
    let ledger = if answer.origin.is_empty() {
        "the ledger".to_owned()
    } else {
        format!("ledger {}", plain(&answer.origin))
    };
    writeln!(
        out,
        "Copy of {ledger} by {sink}, filter {}: records {} up to {}\n",
        plain(&answer.filter),
        answer.from,
        answer.upto
    )?;
    writeln!(out, "  rows          {}", grouped(answer.rows))?;
    writeln!(out, "  proved        {}, by their own text and the ledger's hash", records(answer.proved))?;
    if answer.claimed > 0 {
        writeln!(
            out,
            "  claimed       {}, of which only number and hash came back ({} pointers)",
            records(answer.claimed),
            answer.pointers
        )?;
    }
    if answer.left_out > 0 {
        writeln!(out, "  left out      {} by the sink's filter", records(answer.left_out))?;
    }
    if answer.pruned > 0 {
        writeln!(out, "  pruned        {} that the ledger holds no more", records(answer.pruned))?;
    }
    if answer.pruned_rows > 0 {
        let rows = count(answer.pruned_rows, "row", "rows");
        writeln!(out, "  not compared  {rows}, of records that the ledger holds no more")?;
    }
    for (name, number) in [("duplicates", answer.duplicates), ("unreadable", answer.unreadable)] {
        if number > 0 {
            writeln!(out, "  {name:<12}  {}", count(number, "row", "rows"))?;
        }
    }
    if answer.missing > 0 {
        writeln!(out, "\nMissing: {}", records(answer.missing))?;
        for (first, last) in &answer.gaps {
            writeln!(out, "  {first} to {last}")?;
        }
    }
    for (title, number, findings) in
        [("Altered", answer.altered, &answer.alterations), ("Foreign", answer.foreign, &answer.foreigners)]
    {
        if number > 0 {
            writeln!(out, "\n{title}: {}", count(number, "row", "rows"))?;
        }
        for finding in findings {
            let seq = finding.seq.map_or_else(|| "unknown".to_owned(), |seq| seq.to_string());
            writeln!(out, "  row {}, record {seq}: {}", finding.row, plain(&finding.what))?;
        }
    }
    if answer.newer > 0 {
        let rows = count(answer.newer, "row", "rows");
        writeln!(out, "\nNewer: {rows} from beyond the end of what was read, not compared")?;
    }
    if answer.reordered > 0 {
        writeln!(out, "\nReordered: {} behind one with a higher number", records(answer.reordered))?;
    }
    writeln!(out, "\nVerdict: {}", answer.verdict.join(", "))
}
