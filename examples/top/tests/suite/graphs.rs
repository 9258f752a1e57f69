//! Graphs: a column for each piece of time.

use std::time::Duration;

use plugmeter::Window;
use plugmeter::testing::Observed;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::test_host::{POLL, TestHost};
use plugmeter_top::app::App;
use plugmeter_top::chart::{self, Axis};
use plugmeter_top::facts::{Freshness, Scene};
use plugmeter_top::table::{self, Column};

/// Memory of the plugin `dice` in so many columns.
fn memory(host: &TestHost, width: u16) -> Vec<Option<f64>> {
    let snapshot = host.sim.snapshot();
    let freshness = Freshness { age: Duration::ZERO, is_stale: false };
    let span = Scene::new(&snapshot, freshness, Window::All).span();
    let dice = snapshot.plugin("dice").unwrap();
    let axis = Axis { span, interval: POLL };
    axis.columns(dice.history(Window::All), width, |sample| sample.memory_mb())
}

#[test]
fn one_column_per_sample_shows_each_sample() {
    let mut host = TestHost::new();
    host.run("dice", 1, 1, 0);
    for mb in 1..=12 {
        host.change(1, 1, mb);
        host.ticks(1);
    }
    let expected: Vec<_> = (1..=12).map(|mb| Some(f64::from(mb))).collect();
    assert_eq!(memory(&host, 12), expected);
    // Half a sample each.
    let twice: Vec<_> = expected.iter().flat_map(|value| [*value; 2]).collect();
    assert_eq!(memory(&host, 24), twice);
    // Of three samples the largest.
    assert_eq!(memory(&host, 4), [Some(3.0), Some(6.0), Some(9.0), Some(12.0)]);
}

#[test]
fn graph_has_gaps_without_process_or_ticks() {
    let mut host = TestHost::new();
    host.run("dice", 1, 1, 7);
    host.ticks(3);
    host.end(1, Observed::Exited(0));
    host.ticks(3);
    host.run("dice", 2, 1, 8);
    host.ticks(2);
    let (seven, eight) = (Some(7.0), Some(8.0));
    assert_eq!(memory(&host, 8), [seven, seven, seven, None, None, None, eight, eight]);
    // A tick that is late by three intervals.
    host.sim.advance(3 * POLL);
    host.ticks(1);
    assert_eq!(memory(&host, 12)[6..], [eight, eight, None, None, None, eight]);
}

#[test]
fn graph_starts_when_the_plugin_does() {
    let mut host = TestHost::new();
    host.plugin("first");
    host.ticks(4);
    host.run("dice", 1, 1, 7);
    host.ticks(2);
    assert_eq!(memory(&host, 6), [None, None, None, None, Some(7.0), Some(7.0)]);
}

#[test]
fn zero_is_drawn_and_unknown_is_blank() {
    let area = Rect::new(0, 0, 5, 2);
    let mut buf = Buffer::empty(area);
    let columns = [Some(0.0), None, Some(50.0), Some(100.0), Some(400.0)];
    chart::draw(&mut buf, area, &columns, 100.0, Style::new());
    let line = |y| (0..5).map(|x| buf[(x, y)].symbol()).collect::<String>();
    assert_eq!([line(0), line(1)], ["   ██", "▁ ███"]);
}

#[test]
fn scale_is_a_round_number() {
    for (largest, lowest, expected) in [
        (0.0, 16.0, 16.0),
        (12.0, 16.0, 16.0),
        (100.4, 100.0, 100.0),
        (131.0, 100.0, 150.0),
        (397.0, 100.0, 400.0),
        (3.4, 1.0, 4.0),
        (57.6, 1.0, 60.0),
        (0.0, 1.0, 1.0),
    ] {
        let scale = chart::scale(&[None, Some(largest)], lowest);
        assert!((scale - expected).abs() < 1e-9, "{largest}: {scale}");
    }
}

#[test]
fn columns_fill_the_width() {
    let mut before = 0;
    for room in 0..300 {
        let columns = table::columns(room, 20);
        let wide: u16 = columns.iter().map(|(_, width)| width + 1).sum();
        assert!(wide <= room + 1, "{room}: {columns:?}");
        assert!(columns.len() >= before, "{room}: more room, fewer columns");
        before = columns.len();
    }
    let shown = |room, column| table::columns(room, 20).iter().any(|(shown, _)| *shown == column);
    for column in [Column::CpuGraph, Column::CpuP95, Column::MemoryGraph, Column::Events] {
        assert!(shown(80, column), "{column:?}");
    }
    assert!(shown(120, Column::Pid) && shown(120, Column::Version));
}

#[test]
fn selected_row_is_reversed_except_graphs() {
    let mut host = TestHost::new();
    host.run("dice", 1, 30, 7);
    host.ticks(20);
    let buf = host.buffer(&mut App::default(), (80, 24), Duration::ZERO);
    let row = (0..24).rev().find(|&y| buf[(2, y)].symbol() == "d").unwrap();
    let reversed = |x: u16| buf[(x, row)].modifier.contains(Modifier::REVERSED);
    assert!((0..6).all(reversed));
    let is_block = |x: &u16| ("▁"..="█").contains(&buf[(*x, row)].symbol());
    let blocks: Vec<_> = (0..80).filter(is_block).collect();
    assert!(blocks.len() > 10 && !blocks.into_iter().any(reversed));
}
