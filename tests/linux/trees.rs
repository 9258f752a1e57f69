//! Process trees of real processes, compared with the kernel's own account of them: the CPU time and
//! the processes of a cgroup that contains the tree and nothing else.

mod burner;
mod cgroup;
mod run;
mod shapes;
mod shared;
mod spawned;
mod survivors;
