//! Process trees of real processes, compared with the kernel's own account of them: the CPU time and
//! the processes of a cgroup that contains the tree and nothing else.

mod burner;
mod cgroup;
mod descriptors;
mod figures;
mod identity;
mod off;
mod proc_files;
mod run;
mod shapes;
mod shared;
mod spawned;
mod survivors;
