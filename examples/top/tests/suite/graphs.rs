//! Graphs: a column for each piece of time.

use std::time::Duration;

use plugmeter::Window;
use plugmeter::testing::Observed;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::world::{POLL, World};
use plugmeter_top::app::App;
use plugmeter_top::chart::{self, Axis};
use plugmeter_top::facts::Scene;
use plugmeter_top::table::{self, Column};

/// Memory of the plugin `dice` in so many columns.
fn memory(world: &World, width: u16) -> Vec<Option<f64>> {
    let snapshot = world.sim.snapshot();
    let span = Scene::new(&snapshot, Duration::ZERO, Window::All).span();
    let dice = snapshot.plugin("dice").unwrap();
    let axis = Axis { span, interval: POLL };
    axis.columns(dice.history(Window::All), width, |sample| sample.memory_mb())
}

#[test]
fn with_a_column_for_each_sample_each_is_that_sample() {
    let mut world = World::new();
    world.run("dice", 1, 1, 0);
    for mb in 1..=12 {
        world.change(1, 1, mb);
        world.ticks(1);
    }
    let expected: Vec<_> = (1..=12).map(|mb| Some(f64::from(mb))).collect();
    assert_eq!(memory(&world, 12), expected);
    // Half a sample each.
    let twice: Vec<_> = expected.iter().flat_map(|value| [*value; 2]).collect();
    assert_eq!(memory(&world, 24), twice);
    // Of three samples the largest.
    assert_eq!(memory(&world, 4), [Some(3.0), Some(6.0), Some(9.0), Some(12.0)]);
}

#[test]
fn a_graph_is_broken_where_there_was_no_process_and_where_ticks_were_missing() {
    let mut world = World::new();
    world.run("dice", 1, 1, 7);
    world.ticks(3);
    world.end(1, Observed::Exited(0));
    world.ticks(3);
    world.run("dice", 2, 1, 8);
    world.ticks(2);
    let (seven, eight) = (Some(7.0), Some(8.0));
    assert_eq!(memory(&world, 8), [seven, seven, seven, None, None, None, eight, eight]);
    // A tick that is late by three intervals.
    world.sim.advance(3 * POLL);
    world.ticks(1);
    assert_eq!(memory(&world, 12)[6..], [eight, eight, None, None, None, eight]);
}

#[test]
fn a_plugin_that_came_later_begins_where_it_came() {
    let mut world = World::new();
    world.plugin("first");
    world.ticks(4);
    world.run("dice", 1, 1, 7);
    world.ticks(2);
    assert_eq!(memory(&world, 6), [None, None, None, None, Some(7.0), Some(7.0)]);
}

#[test]
fn a_known_zero_is_drawn_and_what_is_not_known_is_blank() {
    let area = Rect::new(0, 0, 5, 2);
    let mut buf = Buffer::empty(area);
    let columns = [Some(0.0), None, Some(50.0), Some(100.0), Some(400.0)];
    chart::draw(&mut buf, area, &columns, 100.0, Style::new());
    let line = |y| (0..5).map(|x| buf[(x, y)].symbol()).collect::<String>();
    assert_eq!([line(0), line(1)], ["   ██", "▁ ███"]);
}

#[test]
fn the_scale_is_a_round_number_that_nothing_exceeds_but_by_a_hair() {
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
fn columns_fill_the_room_and_never_more() {
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
fn the_selected_row_stands_out_and_its_graphs_are_not_turned_round() {
    let mut world = World::new();
    world.run("dice", 1, 30, 7);
    world.ticks(20);
    let buf = world.buffer(&mut App::default(), (80, 24), Duration::ZERO);
    let row = (0..24).rev().find(|&y| buf[(2, y)].symbol() == "d").unwrap();
    let reversed = |x: u16| buf[(x, row)].modifier.contains(Modifier::REVERSED);
    assert!((0..6).all(reversed));
    let is_block = |x: &u16| ("▁"..="█").contains(&buf[(*x, row)].symbol());
    let blocks: Vec<_> = (0..80).filter(is_block).collect();
    assert!(blocks.len() > 10 && !blocks.into_iter().any(reversed));
}
