//! Every output of a snapshot, and its invariants. A new output is a new line in `ALL`.

use plugmeter::prometheus::{self, Format};
use plugmeter::{Snapshot, Window};

use crate::Violation;

type View = fn(&Snapshot) -> Result<(), Violation>;

pub(crate) const ALL: [(&str, View); 4] = [
    ("table", table),
    ("JSON", json),
    ("OpenMetrics", |snapshot| page(snapshot, Format::OpenMetrics)),
    ("text format 0.0.4", |snapshot| page(snapshot, Format::Prometheus)),
];

fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    actual: T,
    expected: T,
) -> Result<(), Violation> {
    if actual == expected { Ok(()) } else { Err(format!("{what}: {actual:?}, not {expected:?}")) }
}

fn table(snapshot: &Snapshot) -> Result<(), Violation> {
    let text = snapshot.to_string();
    expect("lines", text.lines().count(), snapshot.plugins().len() + 2)?;
    for (line, view) in text.lines().skip(1).zip(snapshot.plugins()) {
        expect(line, line.starts_with(view.name()), true)?;
        if let Some(aggregates) = view.aggregates(Window::All) {
            let lines = aggregates.to_string().lines().count();
            // The values of the main process have lines of their own if they are not the tree's.
            expect("4 or 7 lines of aggregates", lines == 4 || lines == 7, true)?;
        }
    }
    Ok(())
}

fn json(snapshot: &Snapshot) -> Result<(), Violation> {
    let text = serde_json::to_string(snapshot).map_err(|error| error.to_string())?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    expect("tick", json["tick"].as_u64(), Some(snapshot.tick()))?;
    expect("revision", json["revision"].as_u64(), Some(snapshot.revision()))?;
    let rows = json["plugins"].as_array().map_or(&[][..], Vec::as_slice);
    expect("plugins", rows.len(), snapshot.plugins().len())?;
    for (row, view) in rows.iter().zip(snapshot.plugins()) {
        expect("name", row["plugin_name"].as_str(), Some(view.name()))?;
        expect("events", row["event_count"].as_u64(), Some(view.event_count()))?;
        expect("crashes", row["crash_count"].as_u64(), Some(view.crash_count()))?;
    }
    Ok(())
}

fn page(snapshot: &Snapshot, format: Format) -> Result<(), Violation> {
    let page = prometheus::render(snapshot, format);
    expect("end marker", page.ends_with("# EOF\n"), format == Format::OpenMetrics)?;
    let mut up = page.lines().filter(|line| line.starts_with("plugin_up{"));
    let mut crashes = page.lines().filter(|line| line.starts_with("plugin_crashes_total{"));
    for view in snapshot.plugins() {
        let line = |family: &str, value: u64| {
            Some(format!("{family}{{plugin=\"{}\"}} {value}", view.name()))
        };
        let is_up = u64::from(view.run().is_some());
        expect("up", up.next().map(str::to_owned), line("plugin_up", is_up))?;
        let crashed = line("plugin_crashes_total", view.crash_count());
        expect("crashes", crashes.next().map(str::to_owned), crashed)?;
    }
    expect("further series", (up.next(), crashes.next()), (None, None))
}
