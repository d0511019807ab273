"""What an evaluation does: plan, refine, rank, score; and recommending before it."""
