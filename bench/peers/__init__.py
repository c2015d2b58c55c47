"""The formulations that people use today, written as they would write them: what gsbench's own are held against."""
