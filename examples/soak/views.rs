//! Every output there is of a snapshot, and what must hold of it. Another one is another line in
//! `ALL`.

use plugmeter::prometheus::{self, Format};
use plugmeter::{Snapshot, Window};

use crate::Broken;

type View = fn(&Snapshot) -> Result<(), Broken>;

pub(crate) const ALL: [(&str, View); 4] = [
    ("table", table),
    ("JSON", json),
    ("OpenMetrics", |snapshot| page(snapshot, Format::OpenMetrics)),
    ("text format 0.0.4", |snapshot| page(snapshot, Format::Prometheus)),
];

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), Broken> {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?}, and should be {should:?}")) }
}

fn table(snapshot: &Snapshot) -> Result<(), Broken> {
    let text = snapshot.to_string();
    same("lines", text.lines().count(), snapshot.plugins().len() + 2)?;
    for (line, view) in text.lines().skip(1).zip(snapshot.plugins()) {
        same(line, line.starts_with(view.name()), true)?;
        if let Some(aggregates) = view.aggregates(Window::All) {
            same("lines of aggregates", aggregates.to_string().lines().count(), 4)?;
        }
    }
    Ok(())
}

fn json(snapshot: &Snapshot) -> Result<(), Broken> {
    let text = serde_json::to_string(snapshot).map_err(|error| error.to_string())?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    same("tick", json["tick"].as_u64(), Some(snapshot.tick()))?;
    same("revision", json["revision"].as_u64(), Some(snapshot.revision()))?;
    let rows = json["plugins"].as_array().map_or(&[][..], Vec::as_slice);
    same("plugins", rows.len(), snapshot.plugins().len())?;
    for (row, view) in rows.iter().zip(snapshot.plugins()) {
        same("name", row["plugin_name"].as_str(), Some(view.name()))?;
        same("events", row["event_count"].as_u64(), Some(view.event_count()))?;
        same("crashes", row["crash_count"].as_u64(), Some(view.crash_count()))?;
    }
    Ok(())
}

fn page(snapshot: &Snapshot, format: Format) -> Result<(), Broken> {
    let page = prometheus::render(snapshot, format);
    same("the end", page.ends_with("# EOF\n"), format == Format::OpenMetrics)?;
    let mut up = page.lines().filter(|line| line.starts_with("plugin_up{"));
    let mut crashes = page.lines().filter(|line| line.starts_with("plugin_crashes_total{"));
    for view in snapshot.plugins() {
        let line = |family: &str, value: u64| {
            Some(format!("{family}{{plugin=\"{}\"}} {value}", view.name()))
        };
        let lives = u64::from(view.run().is_some());
        same("up", up.next().map(str::to_owned), line("plugin_up", lives))?;
        let crashed = line("plugin_crashes_total", view.crash_count());
        same("crashes", crashes.next().map(str::to_owned), crashed)?;
    }
    same("more series than plugins", (up.next(), crashes.next()), (None, None))
}
