FROM foreign
