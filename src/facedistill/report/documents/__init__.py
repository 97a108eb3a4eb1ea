"""What is written of evaluations, comparisons, models and data: tables, pages, cards."""
