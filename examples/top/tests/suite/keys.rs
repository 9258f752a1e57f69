//! What keys do.

use std::time::Duration;

use plugmeter::{Limit, LimitMetric, Limits};
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::test_host::{POLL, TestHost, press, type_text};
use plugmeter_top::app::{After, App, Order, Pane};

/// Three plugins of which each order makes something else, and one of which nothing is known.
fn test_host() -> TestHost {
    let mut host = TestHost::new();
    host.run("a", 1, 10, 300);
    let memory = Limit::new(LimitMetric::MemoryMb, 256.0).lasting(POLL);
    host.plugin("a").set_limits(Limits::default().rule(memory)).unwrap();
    host.run("b", 2, 30, 20);
    host.run("c", 3, 20, 10);
    host.plugin("d").events().add(1);
    host.plugin("e").crashed();
    host.ticks(1);
    for (name, events) in [("a", 5), ("b", 0), ("c", 9), ("d", 1), ("e", 0)] {
        host.plugin(name).events().add(events);
    }
    host.ticks(1);
    host
}

fn selected(host: &TestHost, app: &mut App) -> String {
    let order = host.order(app);
    order[app.position()].clone()
}

#[test]
fn each_order_sorts_with_unknown_last() {
    let host = test_host();
    for (keys, expected) in [
        // An error, a warning by a limit, then by CPU.
        ("w", ["e", "a", "b", "c", "d"]),
        ("wr", ["d", "c", "b", "a", "e"]),
        ("n", ["a", "b", "c", "d", "e"]),
        ("nr", ["e", "d", "c", "b", "a"]),
        ("c", ["b", "c", "a", "d", "e"]),
        ("cr", ["a", "c", "b", "d", "e"]),
        ("m", ["a", "b", "c", "d", "e"]),
        ("mr", ["c", "b", "a", "d", "e"]),
        ("e", ["c", "a", "d", "b", "e"]),
        ("x", ["a", "b", "c", "d", "e"]),
    ] {
        let mut app = App::default();
        type_text(&mut app, keys);
        assert_eq!(host.order(&mut app), expected, "{keys}");
    }
}

#[test]
fn order_by_crashes_puts_most_first() {
    let mut host = TestHost::new();
    for (name, crashes) in [("a", 1), ("b", 3), ("c", 0)] {
        host.plugin(name);
        for pid in 0..crashes {
            host.run(name, 10 + pid, 1, 1);
            host.plugin(name).crashed();
        }
    }
    host.ticks(1);
    let mut app = App::default();
    type_text(&mut app, "x");
    assert_eq!(host.order(&mut app), ["b", "a", "c"]);
    type_text(&mut app, "r");
    assert_eq!(host.order(&mut app), ["c", "a", "b"]);
}

#[test]
fn selection_follows_its_plugin() {
    let mut host = test_host();
    let mut app = App::default();
    type_text(&mut app, "c");
    assert_eq!(host.order(&mut app), ["b", "c", "a", "d", "e"]);
    press(&mut app, [KeyCode::Down]);
    assert_eq!(selected(&host, &mut app), "c");
    host.change(3, 90, 10);
    host.ticks(1);
    assert_eq!(host.order(&mut app)[0], "c");
    assert_eq!(selected(&host, &mut app), "c");
    type_text(&mut app, "n");
    assert_eq!(selected(&host, &mut app), "c");
    // It is gone: whoever has its place now.
    host.plugin("c").remove();
    host.sim.advance(Duration::ZERO);
    assert_eq!(selected(&host, &mut app), "d");
}

#[test]
fn keys_move_the_selection_within_bounds() {
    let host = test_host();
    let mut app = App::default();
    type_text(&mut app, "n");
    host.order(&mut app);
    for (key, expected) in [
        (KeyCode::Up, "a"),
        (KeyCode::Char('j'), "b"),
        (KeyCode::Down, "c"),
        (KeyCode::Char('k'), "b"),
        (KeyCode::End, "e"),
        (KeyCode::Down, "e"),
        (KeyCode::Home, "a"),
        (KeyCode::PageDown, "e"),
        (KeyCode::PageUp, "a"),
    ] {
        press(&mut app, [key]);
        assert_eq!(selected(&host, &mut app), expected, "{key:?}");
    }
}

#[test]
fn selected_row_is_always_visible() {
    let mut host = TestHost::new();
    for nth in 0..100 {
        host.plugin(&format!("plugin-{nth:02}"));
    }
    host.ticks(1);
    let mut app = App::default();
    for nth in 0..100 {
        let lines = host.lines(&mut app, (80, 24), Duration::ZERO);
        let name = format!("plugin-{nth:02}");
        assert!(lines.iter().any(|line| line.contains(&name)), "{name}: {lines:#?}");
        press(&mut app, [KeyCode::Down]);
    }
}

#[test]
fn filter_matches_names_until_escape() {
    let mut host = TestHost::new();
    for name in ["Dice", "8ball", "dicey"] {
        host.plugin(name);
    }
    host.ticks(1);
    let mut app = App::default();
    // Keys that would sort or quit are a part of the name here.
    type_text(&mut app, "/q");
    assert_eq!(host.order(&mut app).len(), 1, "one line says that there is none");
    press(&mut app, [KeyCode::Backspace]);
    type_text(&mut app, "dic");
    assert_eq!(host.order(&mut app), ["Dice", "dicey"]);
    press(&mut app, [KeyCode::Enter]);
    assert_eq!(host.order(&mut app), ["Dice", "dicey"]);
    assert_eq!(press(&mut app, [KeyCode::Esc]), After::GoOn);
    assert_eq!(host.order(&mut app), ["8ball", "Dice", "dicey"]);
    assert_eq!(press(&mut app, [KeyCode::Esc]), After::Quit);
}

#[test]
fn escape_goes_back_and_q_quits() {
    let host = test_host();
    for open in ["", "?", "/", "/a"] {
        let mut app = App::default();
        type_text(&mut app, open);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.key(control_c), After::Quit, "{open:?}");
        let control_z = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
        assert_eq!(app.key(control_z), After::Suspend, "{open:?}");
    }
    let mut app = App::default();
    host.order(&mut app);
    press(&mut app, [KeyCode::Enter]);
    assert_eq!(app.pane, Pane::Detail);
    assert_eq!(press(&mut app, [KeyCode::Char('?')]), After::GoOn);
    assert_eq!((press(&mut app, [KeyCode::Esc]), app.pane), (After::GoOn, Pane::Table));
    press(&mut app, [KeyCode::Enter]);
    assert_eq!((press(&mut app, [KeyCode::Esc]), app.pane), (After::GoOn, Pane::Table));
    for open in [&[][..], &[KeyCode::Enter], &[KeyCode::Char('?')]] {
        let mut app = App::default();
        host.order(&mut app);
        press(&mut app, open.iter().copied());
        assert_eq!(type_text(&mut app, "q"), After::Quit, "{open:?}");
    }
}

#[test]
fn details_of_a_removed_plugin_close() {
    let mut host = test_host();
    let mut app = App::default();
    host.order(&mut app);
    press(&mut app, [KeyCode::Enter]);
    host.plugin("e").remove();
    host.sim.advance(Duration::ZERO);
    host.lines(&mut app, (80, 24), Duration::ZERO);
    assert_eq!(app.pane, Pane::Table);
}

const SIZE: (u16, u16) = (80, 24);

/// An event of the mouse on the first line that starts with this text, at this column.
fn mouse(host: &TestHost, app: &mut App, kind: MouseEventKind, line: &str, column: u16) -> bool {
    let lines = host.lines(app, SIZE, Duration::ZERO);
    let row = lines.iter().position(|text| text.contains(line));
    let row = row.unwrap_or_else(|| panic!("no {line} in {lines:#?}")) as u16;
    app.mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
}

#[test]
fn mouse_selects_opens_sorts_and_scrolls() {
    const CLICK: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
    const BACK: MouseEventKind = MouseEventKind::Down(MouseButton::Right);
    let host = test_host();
    let mut app = App::default();
    type_text(&mut app, "n");
    let order = host.order(&mut app);
    assert_eq!(order, ["a", "b", "c", "d", "e"]);
    // The first click selects a row, the second one opens it.
    assert!(mouse(&host, &mut app, CLICK, "● c", 2));
    assert_eq!((selected(&host, &mut app).as_str(), app.pane), ("c", Pane::Table));
    mouse(&host, &mut app, CLICK, "● c", 30);
    assert_eq!(app.pane, Pane::Detail);
    mouse(&host, &mut app, BACK, "● c", 30);
    assert_eq!(app.pane, Pane::Table);
    // A heading sorts, and reverses the order the second time.
    let heading = host.lines(&mut app, SIZE, Duration::ZERO);
    let heading = heading.iter().find(|line| line.contains("MEM MB")).unwrap();
    let column = heading.find("MEM MB").unwrap() as u16;
    mouse(&host, &mut app, CLICK, "MEM MB", column);
    assert_eq!((app.order, app.reverse), (Order::Memory, false));
    assert_eq!(host.order(&mut app)[0], "a");
    mouse(&host, &mut app, CLICK, "MEM MB", column);
    assert!(app.reverse);
    // The wheel moves the selection.
    host.order(&mut app);
    let before = app.position();
    mouse(&host, &mut app, MouseEventKind::ScrollDown, "MEM MB", 0);
    assert_eq!(app.position(), before + 1);
    mouse(&host, &mut app, MouseEventKind::ScrollUp, "MEM MB", 0);
    assert_eq!(app.position(), before);
    // A problem opens its plugin, also if the filter hides that.
    type_text(&mut app, "/zzz");
    press(&mut app, [KeyCode::Enter]);
    mouse(&host, &mut app, CLICK, "✗ e: crashed", 5);
    assert_eq!((app.pane, app.filter.as_str()), (Pane::Detail, ""));
    host.lines(&mut app, SIZE, Duration::ZERO);
    press(&mut app, [KeyCode::Esc]);
    assert_eq!(selected(&host, &mut app), "e");
    // Movements, and clicks elsewhere, change nothing.
    assert!(!mouse(&host, &mut app, MouseEventKind::Moved, "e", 0));
    press(&mut app, [KeyCode::Char('?')]);
    mouse(&host, &mut app, CLICK, "quit", 0);
    assert_eq!(app.pane, Pane::Table, "a click closes the help");
}
