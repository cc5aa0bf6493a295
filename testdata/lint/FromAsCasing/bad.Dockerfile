FROM alpine as a
from alpine AS b
FROM alpine As c
# A FROM of mixed case is told elsewhere.
From alpine aS d
