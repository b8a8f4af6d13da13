-- Nothing to change: PostgreSQL's sequences never hand out an id twice.
SELECT 1;
